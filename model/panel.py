"""A picture within a picture: a plotted figure with its margins, a photo in a passe-partout, a card on a page.

What differs from the background is then a rectangle with all its corners, with a flat background of its own and
something in front of that. Garments are no such rectangles.
"""

import numpy as np
from numpy.typing import NDArray

from model.background import samples
from model.photo import Scene, look
from model.silhouette import Box, Mask, bounds, filled

SIDE, CORNER, FULL = 0.5, 0.1, 0.97
"""What is set of each of a rectangle's sides at least; how far its corners reach; what is set of them."""

EXACT = 0.995
"""What is set of a drawn rectangle at least, with what it encloses."""

CORE = 0.8
"""Of the whole, what the rectangle has at least: the rest are the ticks of its axes."""

SMALLEST = 24
"""Pixels a side of a picture within another, at least."""

UNIFORM = 0.55
"""Of its border, what has the colour of its background at least."""

SHOWN = 0.1, 0.9
"""Of it, the least and the most that is not background: less is an emblem on a bag."""

FINE = 512
"""In so many pixels along its longer side its edges are looked for."""

LARGE = 64
"""Pixels a side from which on the outermost line is left out, which may be blended with what is around it."""


def panel(scene: Scene) -> Box | None:
    """Where the picture is that this one shows: left, top, right, bottom in pixels; None if it shows no other."""
    if scene.mask is None:
        return None
    coarse = _rectangle(scene.mask)
    if coarse is None or not _has_sides(scene.mask, coarse):
        return None
    box = _to_the_pixel(scene, coarse)
    if min(box[2] - box[0], box[3] - box[1]) < SMALLEST:
        return None
    inside = look(scene.image.crop(box), None)
    if inside.mask is None or len(inside.behind.coefficients) > 1 or inside.behind.share < UNIFORM:
        return None
    hollow = _is_rectangle(inside.mask)  # bold lines around a rectangle, or a slit in it
    return box if SHOWN[0] <= inside.mask.mean() <= SHOWN[1] and not hollow else None


def _rectangle(mask: Mask) -> Box | None:
    """What has lines that are at least half set, if that is most of it, and there is something on all sides of it."""
    left, top, right, bottom = bounds(mask)
    within = mask[top:bottom, left:right]
    columns, rows = (_span(within.mean(axis=axis) >= 0.5) for axis in (0, 1))
    area = (columns[1] - columns[0]) * (rows[1] - rows[0])
    framed = left > 0 and top > 0 and right < mask.shape[1] and bottom < mask.shape[0]
    if area < CORE * within.size or not framed:
        return None
    return left + columns[0], top + rows[0], left + columns[1], top + rows[1]


def _span(chosen: NDArray[np.bool_]) -> tuple[int, int]:
    """From the first to behind the last that is set."""
    found = np.flatnonzero(chosen)
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


def _has_sides(mask: Mask, box: Box) -> bool:
    """Four corners, and what the picture within shows may be as light as what is around it only between them."""
    left, top, right, bottom = box
    within = mask[top:bottom, left:right]
    height, width = (max(2, round(CORNER * side)) for side in within.shape)
    corners = (within[y, x] for y in (slice(height), slice(-height, None)) for x in (slice(width), slice(-width, None)))
    sides = within[0], within[-1], within[:, 0], within[:, -1]
    return bool(min(side.mean() for side in sides) >= SIDE and min(corner.mean() for corner in corners) >= FULL)


def _is_rectangle(mask: Mask) -> bool:
    left, top, right, bottom = bounds(mask)
    return bool(filled(mask)[top:bottom, left:right].mean() >= EXACT)


def _to_the_pixel(scene: Scene, coarse: Box) -> Box:
    """The rectangle found on the scene's small copy, in the picture itself, or on a larger copy of it."""
    (height, width), size = scene.view.values.shape[:2], scene.image.size
    x, y = size[0] / width, size[1] / height
    left, top = max(0, int((coarse[0] - 1) * x)), max(0, int((coarse[1] - 1) * y))
    right, bottom = min(size[0], int((coarse[2] + 1) * x) + 1), min(size[1], int((coarse[3] + 1) * y) + 1)
    factor = max(1, max(right - left, bottom - top) // FINE)
    values = samples(np.asarray(scene.image.reduce(factor, (left, top, right, bottom))))
    difference = scene.behind.difference(values, (left / size[0], top / size[1], right / size[0], bottom / size[1]))
    mask = difference >= scene.behind.threshold(difference)
    columns, rows = (_span(mask.mean(axis=axis) >= 0.5) for axis in (0, 1))
    less = 1 if min(columns[1] - columns[0], rows[1] - rows[0]) >= LARGE else 0
    return (
        left + factor * (columns[0] + less),
        top + factor * (rows[0] + less),
        min(right, left + factor * (columns[1] - less)),
        min(bottom, top + factor * (rows[1] - less)),
    )
