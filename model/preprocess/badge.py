"""A garment on a disc or a rounded tile: a badge, an app's icon, a person's picture cut out round.

Its background goes on beyond its edge, and so the rest is painted with it. A rim makes a badge within a badge.
"""

import numpy as np
from PIL import Image, ImageDraw

from model.preprocess.background import CLOSE, Floats
from model.preprocess.panel import is_picture
from model.preprocess.photo import Scene
from model.preprocess.silhouette import Box, Mask, bounds, filled

ASPECT = 1.1
"""Longer by shorter side, at most."""

SMALLEST = 24
"""Pixels of the small copy across, at least."""

ROUND = 0.15
"""Of a side, the radius of the corners, at least; that of a disc is half of it."""

UNLIKE = 0.04
"""Of the box, what may differ from a rounded square, at most."""

UNROUND, ASIDE = 0.12, 0.2
"""A ring's hole: what may differ from a disc, and pixels twice from the middle, of the ring's width."""

RINGS, RING = (1.5, 3.5, 5.5), 2.0
"""Pixels of the small copy from the edge at which rings of one colour are looked for, and how broad those are."""

UNIFORM = 0.8
"""Of a ring, what has one colour at least."""


def badge(scene: Scene) -> tuple[Box, Image.Image] | None:
    """Where it is, left, top, right, bottom in pixels, and the picture on it; None if there is none."""
    if scene.mask is None or (found := _rounded(scene.mask, SMALLEST)) is None or _is_ring(scene.mask, found[0]):
        return None
    (left, top, right, bottom), radius = found
    if (edge := _background(scene, *found)) is None:
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
    return (box, picture) if is_picture(picture) else None


def _is_ring(mask: Mask, box: Box) -> bool:
    """Whether all that is in the shape is a round hole in the middle."""
    hole = _disc(mask.shape, box, RINGS[0]) & ~mask
    inner = bounds(hole)
    disc = _disc(mask.shape, inner, 0)
    aside = abs(inner[0] + inner[2] - box[0] - box[2]), abs(inner[1] + inner[3] - box[1] - box[3])
    return max(aside) <= ASIDE * (box[2] - box[0]) and bool((hole ^ disc).sum() <= UNROUND * disc.sum())


def _disc(shape: tuple[int, ...], box: Box, inset: float) -> Mask:
    return _tile(shape, box, max(shape), inset)


def _rounded(mask: Mask, smallest: int) -> tuple[Box, float] | None:
    """The box and the radius of a square with round corners, if the mask and what it encloses are one."""
    box = left, top, right, bottom = bounds(mask)
    width, height = right - left, bottom - top
    if max(width, height) > ASPECT * min(width, height) or min(width, height) < smallest:
        return None
    corner = max(1, round(ROUND * min(width, height) / 5))
    within = mask[top:bottom, left:right]
    if any(within[y, x] for y in (corner // 2, -1 - corner // 2) for x in (corner // 2, -1 - corner // 2)):
        return None
    shape = filled(mask)[top:bottom, left:right]
    radius = float(np.sqrt((shape.size - shape.sum()) / (4 - np.pi)))
    if radius < ROUND * min(width, height):
        return None
    off = (shape ^ _tile(mask.shape, box, radius, 0)[top:bottom, left:right]).sum()
    return (box, radius) if off <= UNLIKE * shape.size else None


def _background(scene: Scene, box: Box, radius: float) -> tuple[Floats, float] | None:
    """The colour of the outermost ring of one colour, [c], and how far from the edge its middle is."""
    shape = scene.view.values.shape[:2]
    for depth in RINGS:
        ring = scene.view.values[_tile(shape, box, radius, depth) & ~_tile(shape, box, radius, depth + RING)]
        colour: Floats = np.median(ring, axis=0)
        if (np.abs(ring - colour).max(axis=1) <= CLOSE).mean() >= UNIFORM:
            return colour, depth + RING / 2
    return None


def _tile(shape: tuple[int, ...], box: Box, radius: float, inset: float) -> Mask:
    """A rounded rectangle in a box, so many pixels smaller on all sides → bool of `shape`."""
    left, top, right, bottom = box
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    half = (right - left) / 2 - inset, (bottom - top) / 2 - inset
    radius = min(max(0.0, radius - inset), *half)
    across = np.abs(x - (left + right) / 2) - (half[0] - radius)
    down = np.abs(y - (top + bottom) / 2) - (half[1] - radius)
    inside: Mask = np.hypot(across.clip(0), down.clip(0)) <= radius
    return inside
