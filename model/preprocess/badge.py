"""Finds a garment on a disc or a rounded tile: a badge, an app icon, a round profile picture.

The area outside the badge is filled with the badge's background colour. A rim counts as a badge around another badge.
"""

import numpy as np
from PIL import Image, ImageDraw

from model.preprocess.background import COLOUR_TOLERANCE, Floats
from model.preprocess.panel import shows_object
from model.preprocess.scene import Scene
from model.preprocess.silhouette import Box, Mask, bounding_box, fill_holes

MAX_ASPECT = 1.1
"""Longer by shorter side of a badge."""

MIN_SIDE = 24
"""Pixels of the scene's small copy along a badge's shorter side."""

MIN_CORNER_RADIUS = 0.15
"""Of the badge's shorter side; 0.5 is a disc."""

MAX_SHAPE_ERROR = 0.04
"""Share of the badge's box that may differ from a rounded square."""

MAX_HOLE_ERROR, MAX_HOLE_OFFSET = 0.12, 0.2
"""Of a ring: the share of its hole that may differ from a disc, and twice the hole's offset by the ring's width."""

EMPTY_MIDDLE = 0.3
"""Of a ring's width, the diameter of the disc in its middle that holds nothing."""

RING_INSETS, RING_WIDTH = (1.5, 3.5, 5.5), 2.0
"""Distances from the edge at which a ring of one colour is looked for, and its width, in pixels of the small copy."""

MIN_UNIFORM_SHARE = 0.8
"""Share of such a ring that has its colour."""


def find_badge(scene: Scene) -> tuple[Box, Image.Image] | None:
    """The badge's box in pixels of the picture, and the picture on it; None if there is no badge."""
    if scene.mask is None or (found := _rounded_square(scene.mask)) is None or _is_ring(scene.mask, found[0]):
        return None
    (left, top, right, bottom), radius = found
    if (edge := _edge_colour(scene, *found)) is None:
        return None
    colour, inset = edge
    x, y = scene.image.width / scene.mask.shape[1], scene.image.height / scene.mask.shape[0]
    box = round(left * x), round(top * y), round(right * x), round(bottom * y)
    inside, inset = scene.image.crop(box), inset * x
    mask = Image.new("L", inside.size)
    edges = (inset, inset, inside.width - 1 - inset, inside.height - 1 - inset)
    ImageDraw.Draw(mask).rounded_rectangle(edges, max(0, radius * x - inset), fill=255)
    fill = tuple(int(level) for level in colour) if inside.mode == "RGB" else int(colour[0])
    picture = Image.composite(inside, Image.new(inside.mode, inside.size, fill), mask)
    return (box, picture) if shows_object(picture) else None


def _is_ring(mask: Mask, box: Box) -> bool:
    """Whether the shape holds nothing but a round hole in its middle."""
    if (mask & _disc(mask.shape, box, (1 - EMPTY_MIDDLE) / 2 * (box[2] - box[0]))).any():
        return False
    hole = _disc(mask.shape, box, RING_INSETS[0]) & ~mask
    inner = bounding_box(hole)
    disc = _disc(mask.shape, inner, 0)
    offset = max(abs(inner[0] + inner[2] - box[0] - box[2]), abs(inner[1] + inner[3] - box[1] - box[3]))
    return offset <= MAX_HOLE_OFFSET * (box[2] - box[0]) and bool((hole ^ disc).sum() <= MAX_HOLE_ERROR * disc.sum())


def _rounded_square(mask: Mask) -> tuple[Box, float] | None:
    """Box and corner radius of the mask with its holes filled; None if that is no square with round corners."""
    box = left, top, right, bottom = bounding_box(mask)
    side = min(right - left, bottom - top)
    if max(right - left, bottom - top) > MAX_ASPECT * side or side < MIN_SIDE:
        return None
    corner = max(1, round(MIN_CORNER_RADIUS * side / 5))
    within = mask[top:bottom, left:right]
    if any(within[y, x] for y in (corner // 2, -1 - corner // 2) for x in (corner // 2, -1 - corner // 2)):
        return None
    shape = fill_holes(mask)[top:bottom, left:right]
    radius = float(np.sqrt((shape.size - shape.sum()) / (4 - np.pi)))
    if radius < MIN_CORNER_RADIUS * side:
        return None
    off = (shape ^ _rounded_rectangle(mask.shape, box, radius, 0)[top:bottom, left:right]).sum()
    return (box, radius) if off <= MAX_SHAPE_ERROR * shape.size else None


def _edge_colour(scene: Scene, box: Box, radius: float) -> tuple[Floats, float] | None:
    """Colour [c] of the outermost ring of one colour, and the distance of its middle from the edge."""
    shape = scene.view.values.shape[:2]
    for inset in RING_INSETS:
        outer, inner = (_rounded_rectangle(shape, box, radius, depth) for depth in (inset, inset + RING_WIDTH))
        ring = scene.view.values[outer & ~inner]
        colour: Floats = np.median(ring, axis=0)
        if (np.abs(ring - colour).max(axis=1) <= COLOUR_TOLERANCE).mean() >= MIN_UNIFORM_SHARE:
            return colour, inset + RING_WIDTH / 2
    return None


def _disc(shape: tuple[int, ...], box: Box, inset: float) -> Mask:
    """An ellipse in the box, `inset` pixels smaller on all sides → bool of `shape`."""
    return _rounded_rectangle(shape, box, max(shape), inset)


def _rounded_rectangle(shape: tuple[int, ...], box: Box, radius: float, inset: float) -> Mask:
    """A rounded rectangle in the box, `inset` pixels smaller on all sides → bool of `shape`."""
    left, top, right, bottom = box
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    half = (right - left) / 2 - inset, (bottom - top) / 2 - inset
    radius = min(max(0.0, radius - inset), *half)
    across = np.abs(x - (left + right) / 2) - (half[0] - radius)
    down = np.abs(y - (top + bottom) / 2) - (half[1] - radius)
    inside: Mask = np.hypot(across.clip(0), down.clip(0)) <= radius
    return inside
