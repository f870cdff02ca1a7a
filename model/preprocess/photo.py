"""The data set's own way of making its pictures, redone on any picture: `photo`.

Xiao, Rasul and Vollgraf 2017, section 2: front look on a near-white background, edges close to the
background trimmed, longest edge to 28 pixels, sharpened, the short edge extended with the garment in the
middle, negated, 8-bit gray. Here the background is measured rather than known to be white.
"""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from model.preprocess.background import Background, Floats, find_background, luma, samples
from model.preprocess.brightness import FAINTEST, tones_of
from model.preprocess.silhouette import Box, Mask, bounds, garment, grown, without_frame

SIDE = 28
"""The data set's resolution, in pixels."""

COARSE, FINE = 128, 224
"""The garment is searched in so many pixels squared, and looked at more closely in so many along its longer side."""

LIGHT, DARK = 170, 85
"""A background between these does not say which of garment and background is the light one."""

UNIFORM = 0.7
"""Of the border: with less of it in one colour the background is cluttered."""

BLACK = 24
"""Up to this level a background may be that of a picture of the data set."""

SQUARE, STRETCHED = 1.1, 1.4
"""Longer by shorter side, at most, of what counts as square, and of a picture of the data set resized by somebody."""

LARGE = 96
"""Pixels a side that the network sees."""

SNAP, FAINT_LINES = 0.05, 3
"""A square picture that the garment fills but for this share was cropped before, and is not trimmed again; nor is a
small one in which it fills all but so many lines, too faint to be told from the background."""

NOISY = 2.0
"""Gray levels of standard deviation from which on a picture is averaged rather than subsampled."""

SHARPEN = 0.35
"""How far an averaged garment is brought away from its blurred self."""


@dataclass(frozen=True)
class Photo:
    """What became of a picture."""

    pixels: Image.Image
    """L, 28×28."""
    inverted: bool
    crop: Box
    certain: bool


@dataclass(frozen=True)
class _View:
    """A part of a picture at a reduced scale."""

    values: Floats
    """[h,w,c]."""
    opaque: Mask | None
    """[h,w]: what is more opaque than not; None where transparency says nothing."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in the picture, 0–1."""


@dataclass(frozen=True)
class Scene:
    """A picture in which background and garment have been told apart, on a small copy."""

    image: Image.Image
    """L or RGB, upright, composited on white."""
    alpha: Image.Image | None
    """L; None where transparency says nothing about the garment."""
    view: _View
    behind: Background
    mask: Mask | None
    """[h,w] over the view; None where nothing differs from the background."""

    @property
    def looks_native(self) -> bool:
        """As the data set's pictures are, a light garment on black, cropped tight, and not better off subsampled.

        That is a square picture enlarged beyond what the network sees, which shrinking by averaging would blur.
        """
        black = self.behind.level <= BLACK and self.behind.share >= 0.5
        enlarged = min(self.image.size) > LARGE and _was_cropped(self.mask)
        return black and not enlarged and _was_cropped(self.mask, STRETCHED)


def look(image: Image.Image, alpha: Image.Image | None) -> Scene:
    """Finds the garment in an upright L or RGB picture; `alpha`, if it has one, has been composited on white."""
    view = _view(image, alpha, (0, 0, *image.size), max(1, round((image.width * image.height) ** 0.5 / COARSE)))
    if view.opaque is not None and not _surrounded(view.opaque):
        alpha, view = None, replace(view, opaque=None)
    behind = find_background(view.values)
    return Scene(image, alpha, view, behind, garment(without_frame(_differing(view, behind))))


def photo(scene: Scene, background: str = "auto") -> Photo:
    """Trimmed, at the data set's resolution, centred, light on black. `background` is auto, light or dark."""
    image, view, behind, mask = scene.image, scene.view, scene.behind, scene.mask
    whole = (0, 0, *image.size)
    inverted = _is_inverted(view, behind, mask, background)
    if _contradicts(behind, background):
        level = luma(view.values) / np.float32(255)
        plain: Floats = 1 - level if inverted else level
        shape = (0, 0, plain.shape[1], plain.shape[0])
        return Photo(_scaled(plain, shape, smooth=behind.noise >= NOISY), inverted, whole, certain=False)
    if mask is None:
        tones, _ = _tones(view, behind, None, inverted)
        return Photo(
            _scaled(tones, (0, 0, tones.shape[1], tones.shape[0]), smooth=True), inverted, whole, certain=False
        )
    box = _roomy(mask, image.size)
    if box != whole or max(image.size) > FINE:
        view = _view(image, scene.alpha, box, max(1, max(box[2] - box[0], box[3] - box[1]) // FINE))
    fine = _differing(view, behind) & _resized(mask, view)
    tones, hollow = _tones(view, behind, fine, inverted)
    tight = (0, 0, fine.shape[1], fine.shape[0]) if _was_cropped(mask) else _trimmed(tones, fine, view.opaque)
    certain = behind.share >= UNIFORM and (background != "auto" or not DARK < behind.level < LIGHT)
    pixels = _scaled(tones, tight, smooth=hollow or behind.noise >= NOISY)
    return Photo(pixels, inverted, _in_picture(tight, view, box), certain)


def _surrounded(opaque: Mask) -> bool:
    """By transparency: most of the border is not opaque."""
    border = opaque[0].sum() + opaque[-1].sum() + opaque[:, 0].sum() + opaque[:, -1].sum()
    return bool(border < sum(opaque.shape))


def _view(image: Image.Image, alpha: Image.Image | None, box: Box, factor: int) -> _View:
    opaque = None if alpha is None else np.asarray(alpha.reduce(factor, box)) >= 128
    width, height = image.size
    share = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
    return _View(samples(np.asarray(image.reduce(factor, box))), opaque, share)


def _differing(view: _View, behind: Background) -> Mask:
    difference = behind.difference(view.values, view.box)
    mask = difference >= behind.threshold(difference)
    return mask if view.opaque is None else mask | view.opaque


def _is_inverted(view: _View, behind: Background, mask: Mask | None, background: str) -> bool:
    """A light background is made dark; one in between goes by whether the garment is lighter than it."""
    if background != "auto":
        return background == "light"
    if mask is None or not DARK < behind.level < LIGHT:
        return behind.level >= (LIGHT + DARK) / 2
    off = luma(view.values - behind.over(view.box, mask.shape))
    return float(off[mask].mean()) < 0


def _contradicts(behind: Background, background: str) -> bool:
    """Whoever says `dark` of a light border, or the other way round, knows that it is not the background's.

    Nothing is known of the background then: the picture stays whole, and light and dark as they were said to be.
    """
    return (background == "dark" and behind.level >= LIGHT) or (background == "light" and behind.level <= DARK)


def _was_cropped(mask: Mask | None, aspect: float = SQUARE) -> bool:
    """A picture that is no longer than `aspect` says, filled by what is in its middle: so are the data set's."""
    if mask is None or max(mask.shape) > aspect * min(mask.shape):
        return False
    (height, width), box = mask.shape, bounds(mask)
    free = (box[0] + width - box[2]) / width, (box[1] + height - box[3]) / height
    off = abs(box[0] - (width - box[2])) / width, abs(box[1] - (height - box[3])) / height
    slack = max(SNAP, FAINT_LINES / max(mask.shape))
    return bool(min(free) <= slack and max(off) <= slack)


def _roomy(mask: Mask, size: tuple[int, int]) -> Box:
    """The garment's box in the picture's own pixels, with some room around it."""
    if _was_cropped(mask):
        return (0, 0, *size)
    box = bounds(mask)
    x, y = size[0] / mask.shape[1], size[1] / mask.shape[0]
    room = 2 + 0.02 * max(box[2] - box[0], box[3] - box[1])
    left, top = max(0, int((box[0] - room) * x)), max(0, int((box[1] - room) * y))
    return left, top, min(size[0], int((box[2] + room) * x) + 1), min(size[1], int((box[3] + room) * y) + 1)


def _resized(mask: Mask, view: _View) -> Mask:
    """The coarse mask, somewhat larger, as a mask over the view."""
    height, width = mask.shape
    box = (view.box[0] * width, view.box[1] * height, view.box[2] * width, view.box[3] * height)
    picture = Image.fromarray(grown(mask, 2).astype(np.uint8))
    size = view.values.shape[1], view.values.shape[0]
    return np.asarray(picture.resize(size, Image.Resampling.NEAREST, box)).astype(bool)


def _in_picture(tight: Box, view: _View, box: Box) -> Box:
    """From the view's pixels to the picture's."""
    height, width = view.values.shape[:2]
    x, y = (box[2] - box[0]) / width, (box[3] - box[1]) / height
    left, top = box[0] + int(tight[0] * x), box[1] + int(tight[1] * y)
    return left, top, min(box[2], box[0] + round(tight[2] * x)), min(box[3], box[1] + round(tight[3] * y))


def _tones(view: _View, behind: Background, mask: Mask | None, inverted: bool) -> tuple[Floats, bool]:
    """model.preprocess.brightness over a view."""
    back = luma(behind.over(view.box, view.values.shape[:2]))
    return tones_of(luma(view.values), back, mask, inverted=inverted)


def _trimmed(tones: Floats, mask: Mask, opaque: Mask | None) -> Box:
    """The garment's box: by its transparency where that tells, else by its tones."""
    box = bounds(mask, max(1, max(mask.shape) // 112))
    if opaque is not None:
        own = bounds(opaque & mask)
        if max(abs(a - b) for a, b in zip(box, own, strict=True)) <= max(mask.shape) / SIDE:
            return own
    return _at_half_height(tones, box)


def _at_half_height(tones: Floats, box: Box) -> Box:
    """The box with each blurred edge where the garment's tone has risen to half of what it is a pixel further in.

    A pixel of the data set's resolution, that is. Sharp edges stay where they are.
    """
    left, top, right, bottom = box
    inner = tones[top:bottom, left:right]
    pixel = round(max(inner.shape) / SIDE)
    if pixel < 2 or min(inner.shape) < 3 * pixel:
        return box
    columns, rows = inner.max(axis=0), inner.max(axis=1)
    in_left, in_right, in_top, in_bottom = (
        int((line[: pixel + 1] >= line[pixel] / 2).argmax()) for line in (columns, columns[::-1], rows, rows[::-1])
    )
    return left + in_left, top + in_top, right - in_right, bottom - in_bottom


def _scaled(tones: Floats, box: Box, *, smooth: bool) -> Image.Image:
    """The longer side brought to 28 pixels, the shorter one extended on both sides, the lightest white.

    By subsampling, as the data set was: each pixel is the middle of its cell. What would not stand that is averaged,
    and then sharpened.
    """
    left, top, right, bottom = box
    longer = max(right - left, bottom - top)
    width, height = (max(1, round(SIDE * side / longer)) for side in (right - left, bottom - top))
    garment = tones[top:bottom, left:right]
    if garment.shape != (height, width):
        picture = Image.fromarray(garment)
        if smooth or longer < 2 * SIDE:
            garment = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
            garment = _sharpened(garment) if longer > SIDE else garment
        else:
            fine = np.asarray(picture.resize((4 * width, 4 * height), Image.Resampling.BOX))
            garment = (fine[1::4, 1::4] + fine[1::4, 2::4] + fine[2::4, 1::4] + fine[2::4, 2::4]) / 4
    square = np.zeros((SIDE, SIDE), np.float32)
    x, y = (SIDE - width + 1) // 2, (SIDE - height + 1) // 2  # an odd line to the left and on top, as in the data set
    square[y : y + height, x : x + width] = garment * (255 / max(FAINTEST, float(garment.max(initial=0))))
    return Image.fromarray((square + 0.5).clip(0, 255).astype(np.uint8))


def _sharpened(tones: Floats) -> Floats:
    """Away from the Gaussian blur of one pixel."""
    blurred = tones
    for _ in range(2):
        padded = np.pad(blurred, ((1, 1), (0, 0)), "edge")
        blurred = (0.2741 * (padded[:-2] + padded[2:]) + 0.4518 * padded[1:-1]).T
    return np.asarray(tones + SHARPEN * (tones - blurred))
