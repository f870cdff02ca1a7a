"""A picture within a picture: a plotted figure with its margins, a photo in a passe-partout or between bars.

What differs from the page is then a rectangle with straight sides, with a flat background of its own and something in
front of that. Garments are no such rectangles. The page may be seen on some sides only, as bars, and the rectangle
may be no more than a thin line, as the axes of a figure are, with a colour bar beside it.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.preprocess.background import CLOSE, Background, Floats, samples
from model.preprocess.photo import Scene, look
from model.preprocess.silhouette import Box, Mask, bounds, filled, garment, pieces

SIDE, CORNER, FULL = 0.5, 0.1, 0.97
"""What is set of each of a rectangle's sides at least; how far its corners reach; what is set of them."""

EDGE = 0.9
"""What is set, at least, of the sides of a rectangle that reaches the picture's border elsewhere."""

BAR = 0.98
"""Of the picture's outermost line, what has one colour where there is a bar."""

THIN = 2
"""Pixels of the small copy up to which a bar is a thin frame."""

EXACT = 0.995
"""What is set of a drawn rectangle at least, with what it encloses."""

CORE = 0.8
"""Of the whole, what the rectangle has at least: the rest are the ticks of its axes."""

SMALLEST = 24
"""Pixels a side of a picture within another, at least."""

UNIFORM = 0.55
"""Of its border, what has the colour of its background at least."""

SHOWN = 0.1, 0.9
"""Of it, the least and the most that is not background: less is an emblem on a bag, …"""

APART, WIDE = 0.03, 0.35
"""… unless it keeps off the border, has so much at least, and such a part of a side."""

FINE = 512
"""In so many pixels along its longer side its edges are looked for."""

LARGE = 64
"""Pixels a side from which on the outermost line is left out, which may be blended with what is around it."""


def panel(scene: Scene) -> Box | None:
    """Where the picture is that this one shows: left, top, right, bottom in pixels; None if it shows no other."""
    for page, coarse in _rectangles(scene):
        box = _to_the_pixel(scene, page, coarse)
        if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST and is_picture(scene.image.crop(box)):
            return box
    return None


def _rectangles(scene: Scene) -> Iterator[tuple[Background, Box]]:
    """What may be the page, and the rectangle on it."""
    if scene.mask is not None:
        body = _body(scene.mask)
        if box := _rectangle(scene.mask, body):
            yield scene.behind, box
        elif _is_lined(scene.mask, body):
            labels = pieces(scene.mask)
            largest = filled(labels == np.bincount(labels[labels > 0]).argmax())
            if box := _rectangle(largest, _body(largest)):
                yield scene.behind, box
    for page in _bars(scene.view.values, scene.behind):
        difference = page.difference(scene.view.values, scene.view.box)
        mask = garment(difference >= page.threshold(difference))
        if mask is not None and (box := _rectangle(mask, _body(mask))) and _has_bars(mask, box):
            yield page, box


def _bars(values: Floats, behind: Background) -> Iterator[Background]:
    """The colours of outermost lines of one colour which is not the background's, each once."""
    seen = [behind.coefficients[0]] if len(behind.coefficients) == 1 else []
    for line in (values[0], values[-1], values[:, 0], values[:, -1]):
        if any(np.abs(line[0] - colour).max() <= CLOSE for colour in seen):  # a bar has the picture's corners
            continue
        close = np.abs(line - line[0]).max(axis=1) <= CLOSE
        if close.mean() >= BAR:
            colour = np.median(line[close], axis=0)
            seen.append(colour)
            yield Background(colour[None], float(line[close].std(axis=0).max()), float(close.mean()))


def _rectangle(mask: Mask, box: Box) -> Box | None:
    """The body of it, if that is most of it and has straight sides."""
    left, top, right, bottom = box
    within = mask[top:bottom, left:right]
    around = bounds(mask)
    if within.size < CORE * (around[2] - around[0]) * (around[3] - around[1]):
        return None
    height, width = mask.shape
    free = left > 0, top > 0, right < width, bottom < height
    if not any(free):
        return None
    sides = (within[:, 0], within[0], within[:, -1], within[-1])
    least = SIDE if all(free) else EDGE
    straight = all(side.mean() >= least for side, is_free in zip(sides, free, strict=True) if is_free)
    return box if straight and _has_corners(within) else None


def _has_bars(mask: Mask, box: Box) -> bool:
    """Nothing reaches into them: what stands on a floor in front of a wall is no picture between bars.

    Thin ones are left out by model.preprocess.silhouette.
    """
    height, width = mask.shape
    alone = max(abs(side - own) for side, own in zip(bounds(mask), box, strict=True)) <= 1
    return alone and max(box[0], box[1], width - box[2], height - box[3]) > THIN


def _body(mask: Mask) -> Box:
    """The lines that are at least half set, and what is between them."""
    left, top, right, bottom = bounds(mask)
    within = mask[top:bottom, left:right]
    columns, rows = (_span(within.mean(axis=axis) >= 0.5) for axis in (0, 1))
    return left + columns[0], top + rows[0], left + columns[1], top + rows[1]


def _span(chosen: NDArray[np.bool_]) -> tuple[int, int]:
    """From the first to behind the last that is set."""
    found = np.flatnonzero(chosen)
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


def _has_corners(within: Mask) -> bool:
    """What the picture within shows may be as light as what is around it only between them."""
    if not within.size:
        return False
    height, width = (max(2, round(CORNER * side)) for side in within.shape)
    corners = (within[y, x] for y in (slice(height), slice(-height, None)) for x in (slice(width), slice(-width, None)))
    return bool(min(corner.mean() for corner in corners) >= FULL)


def _is_lined(mask: Mask, body: Box) -> bool:
    """Whether it begins and ends, both ways, with lines such as a frame has."""
    left, top, right, bottom = body
    within = mask[top:bottom, left:right]
    if min(within.shape) < SMALLEST:
        return False
    return bool(min(line.mean() for line in (within[0], within[-1], within[:, 0], within[:, -1])) >= SIDE)


def is_picture(image: Image.Image) -> bool:
    """Whether there is something in front of a flat background."""
    inside = look(image, None)
    if inside.mask is None or len(inside.behind.coefficients) > 1 or inside.behind.share < UNIFORM:
        return False
    if _is_rectangle(inside.mask):  # bold lines around a rectangle, or a slit in it
        return False
    left, top, right, bottom = bounds(inside.mask)
    height, width = inside.mask.shape
    share = inside.mask.mean()
    apart = left > 0 and top > 0 and right < width and bottom < height
    wide = max((right - left) / width, (bottom - top) / height) >= WIDE
    return bool((APART if apart and wide else SHOWN[0]) <= share <= SHOWN[1])


def _is_rectangle(mask: Mask) -> bool:
    left, top, right, bottom = bounds(mask)
    return bool(filled(mask)[top:bottom, left:right].mean() >= EXACT)


def _to_the_pixel(scene: Scene, page: Background, coarse: Box) -> Box:
    """The rectangle found on the scene's small copy, in the picture itself, or on a larger copy of it."""
    (height, width), size = scene.view.values.shape[:2], scene.image.size
    x, y = size[0] / width, size[1] / height
    left, top = max(0, int((coarse[0] - 1) * x)), max(0, int((coarse[1] - 1) * y))
    right, bottom = min(size[0], int((coarse[2] + 1) * x) + 1), min(size[1], int((coarse[3] + 1) * y) + 1)
    factor = max(1, max(right - left, bottom - top) // FINE)
    values = samples(np.asarray(scene.image.reduce(factor, (left, top, right, bottom))))
    difference = page.difference(values, (left / size[0], top / size[1], right / size[0], bottom / size[1]))
    differing = difference >= page.threshold(difference)
    columns, rows = (_span(differing.mean(axis=axis) >= 0.5) for axis in (0, 1))
    less = 1 if min(columns[1] - columns[0], rows[1] - rows[0]) >= LARGE else 0
    return (
        left + factor * (columns[0] + less),
        top + factor * (rows[0] + less),
        min(right, left + factor * (columns[1] - less)),
        min(bottom, top + factor * (rows[1] - less)),
    )
