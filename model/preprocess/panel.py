"""Finds a picture within a picture: a plotted figure with margins, a framed photo, a photo between bars.

Such a panel is a rectangle with straight sides on a page. It has an even background of its own, with something in
front of it. No garment is such a rectangle. The page may be visible on some sides only, as bars. The rectangle may
be only a thin line, like the axes of a figure, and may have a colour bar beside it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.preprocess.background import COLOUR_TOLERANCE, Background, Floats, float_channels
from model.preprocess.scene import Scene, segment
from model.preprocess.silhouette import Box, Mask, bounding_box, connected_components, fill_holes, garment_pixels

MIN_SIDE_COVERAGE, MIN_BORDER_SIDE_COVERAGE = 0.5, 0.9
"""Share of each side of the rectangle that is set; the second if other sides lie on the picture's border."""

CORNER_SIZE, MIN_CORNER_COVERAGE = 0.1, 0.97
"""Size of a corner as a share of the side, and the share of it that is set."""

MIN_BAR_COVERAGE = 0.98
"""Share of the picture's outermost line that has the bar's colour."""

MAX_FRAME_WIDTH = 2
"""Pixels of the small copy: a bar this thin is a frame, not a bar."""

MIN_RECTANGLE_COVERAGE = 0.995
"""Share of a rectangle's box that is set once its holes are filled. A shape with less may be an object, not a panel."""

MIN_BODY_SHARE = 0.8
"""Share of the whole figure's box that the rectangle has; the rest are tick labels."""

MIN_SIDE = 24
"""Pixels along the shorter side of a panel."""

MIN_BACKGROUND_SHARE = 0.55
"""Share of the panel's border that has its background's colour."""

FOREGROUND_SHARE = 0.1, 0.9
"""The least and the greatest share of a panel that is foreground. With less, it is an emblem on a bag."""

DETACHED_SHARE, DETACHED_EXTENT = 0.03, 0.35
"""The least share of foreground that touches no side of the panel, if it has at least such a part of a side."""

FINE_SIDE = 512
"""Pixels along the longer side of the copy on which the panel's edges are located."""

MIN_TRIMMED_SIDE = 64
"""Pixels: from this size on, the panel's outermost line is left out, because it may be blended with the page."""


def find_panel(scene: Scene) -> Box | None:
    """The panel's box in pixels of the picture; None if there is no panel."""
    for page, coarse in _candidates(scene):
        box = _refine(scene, page, coarse)
        if min(box[2] - box[0], box[3] - box[1]) >= MIN_SIDE and shows_object(scene.image.crop(box)):
            return box
    return None


def _candidates(scene: Scene) -> Iterator[tuple[Background, Box]]:
    """Possible pages, and the rectangle on each in pixels of the small copy."""
    if scene.mask is not None:
        if box := _rectangle(scene.mask):
            yield scene.background, box
        elif _has_frame_lines(scene.mask):
            labels = connected_components(scene.mask)
            largest = fill_holes(labels == np.bincount(labels[labels > 0]).argmax())
            if box := _rectangle(largest):
                yield scene.background, box
    for page in _bar_colours(scene.view.values, scene.background):
        difference = page.difference(scene.view.values, scene.view.box)
        mask = garment_pixels(difference >= page.threshold(difference))
        if mask is not None and (box := _rectangle(mask)) and _has_bars(mask, box):
            yield page, box


def _bar_colours(values: Floats, background: Background) -> Iterator[Background]:
    """The colours of the picture's outermost lines that have one colour other than the background's, each once."""
    seen = [background.coefficients[0]] if len(background.coefficients) == 1 else []
    for line in (values[0], values[-1], values[:, 0], values[:, -1]):
        if any(np.abs(line[0] - colour).max() <= COLOUR_TOLERANCE for colour in seen):  # bars include the corners
            continue
        close = np.abs(line - line[0]).max(axis=1) <= COLOUR_TOLERANCE
        if close.mean() >= MIN_BAR_COVERAGE:
            colour = np.median(line[close], axis=0)
            seen.append(colour)
            yield Background(colour[None], float(line[close].std(axis=0).max()), float(close.mean()))


def _rectangle(mask: Mask) -> Box | None:
    """The box of the mask's body if that is most of the mask and has straight sides."""
    left, top, right, bottom = box = _body(mask)
    within = mask[top:bottom, left:right]
    around = bounding_box(mask)
    if within.size < MIN_BODY_SHARE * (around[2] - around[0]) * (around[3] - around[1]):
        return None
    height, width = mask.shape
    free = left > 0, top > 0, right < width, bottom < height
    if not any(free):
        return None
    sides = (within[:, 0], within[0], within[:, -1], within[-1])
    least = MIN_SIDE_COVERAGE if all(free) else MIN_BORDER_SIDE_COVERAGE
    straight = all(side.mean() >= least for side, is_free in zip(sides, free, strict=True) if is_free)
    return box if straight and _has_corners(within) else None


def _has_bars(mask: Mask, box: Box) -> bool:
    """Whether nothing but the rectangle is set, and a bar is wider than a frame.

    Something that stands on a floor in front of a wall reaches into the floor. Frames are removed by `segment`.
    """
    height, width = mask.shape
    alone = max(abs(side - own) for side, own in zip(bounding_box(mask), box, strict=True)) <= 1
    return alone and max(box[0], box[1], width - box[2], height - box[3]) > MAX_FRAME_WIDTH


def _body(mask: Mask) -> Box:
    """The box from the first to the last row and column of which at least half is set."""
    left, top, right, bottom = bounding_box(mask)
    within = mask[top:bottom, left:right]
    columns, rows = (_span(within.mean(axis=axis) >= 0.5) for axis in (0, 1))
    return left + columns[0], top + rows[0], left + columns[1], top + rows[1]


def _span(chosen: NDArray[np.bool_]) -> tuple[int, int]:
    """The first set index, and the one after the last."""
    found = np.flatnonzero(chosen)
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


def _has_corners(within: Mask) -> bool:
    """Whether the corners are set. The panel's content may equal the page between the corners, not at them."""
    if not within.size:
        return False
    height, width = (max(2, round(CORNER_SIZE * side)) for side in within.shape)
    corners = (within[y, x] for y in (slice(height), slice(-height, None)) for x in (slice(width), slice(-width, None)))
    return bool(min(corner.mean() for corner in corners) >= MIN_CORNER_COVERAGE)


def _has_frame_lines(mask: Mask) -> bool:
    """Whether the body begins and ends with a line on all four sides, as a frame does."""
    left, top, right, bottom = _body(mask)
    within = mask[top:bottom, left:right]
    if min(within.shape) < MIN_SIDE:
        return False
    lines = (within[0], within[-1], within[:, 0], within[:, -1])
    return bool(min(line.mean() for line in lines) >= MIN_SIDE_COVERAGE)


def shows_object(image: Image.Image) -> bool:
    """Whether an L or RGB picture shows something in front of an even background."""
    scene = segment(image, None)
    background = scene.background
    if scene.mask is None or len(background.coefficients) > 1 or background.border_share < MIN_BACKGROUND_SHARE:
        return False
    left, top, right, bottom = bounding_box(scene.mask)
    if fill_holes(scene.mask)[top:bottom, left:right].mean() >= MIN_RECTANGLE_COVERAGE:
        return False
    height, width = scene.mask.shape
    share = scene.mask.mean()
    touches_side = left == 0 or top == 0 or right == width or bottom == height
    detached = not touches_side and max((right - left) / width, (bottom - top) / height) >= DETACHED_EXTENT
    return bool((DETACHED_SHARE if detached else FOREGROUND_SHARE[0]) <= share <= FOREGROUND_SHARE[1])


def _refine(scene: Scene, page: Background, coarse: Box) -> Box:
    """The box found on the small copy, located again on a larger copy → pixels of the picture."""
    (height, width), size = scene.view.values.shape[:2], scene.image.size
    x, y = size[0] / width, size[1] / height
    left, top = max(0, int((coarse[0] - 1) * x)), max(0, int((coarse[1] - 1) * y))
    right, bottom = min(size[0], int((coarse[2] + 1) * x) + 1), min(size[1], int((coarse[3] + 1) * y) + 1)
    factor = max(1, max(right - left, bottom - top) // FINE_SIDE)
    values = float_channels(np.asarray(scene.image.reduce(factor, (left, top, right, bottom))))
    difference = page.difference(values, (left / size[0], top / size[1], right / size[0], bottom / size[1]))
    differing = difference >= page.threshold(difference)
    columns, rows = (_span(differing.mean(axis=axis) >= 0.5) for axis in (0, 1))
    trim = 1 if min(columns[1] - columns[0], rows[1] - rows[0]) >= MIN_TRIMMED_SIDE else 0
    return (
        left + factor * (columns[0] + trim),
        top + factor * (rows[0] + trim),
        min(right, left + factor * (columns[1] - trim)),
        min(bottom, top + factor * (rows[1] - trim)),
    )
