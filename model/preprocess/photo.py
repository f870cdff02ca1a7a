"""Mode `photo`: converts a photo to a picture like those of the data set, by the steps that made the data set.

Xiao, Rasul and Vollgraf 2017, section 2: a front view on a near-white background; edges close to the background
trimmed; the longer side reduced to 28 pixels; sharpened; the shorter side extended with the garment in the middle;
negated; 8-bit gray. Here the background is measured instead of assumed to be white.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from model.preprocess.background import Background, Floats, luma
from model.preprocess.brightness import EMPTY_BRIGHTNESS, garment_brightness
from model.preprocess.scene import Scene, View, foreground, is_cropped_tight, make_view
from model.preprocess.silhouette import Box, Mask, bounding_box, dilate

DATASET_SIZE = 28
"""Height and width of the data set's pictures, in pixels."""

FINE_SIDE = 224
"""Pixels along the longer side of the copy from which the result is made."""

LIGHT_LEVEL, DARK_LEVEL = 170, 85
"""Gray levels: on a background between these, the garment may be the lighter or the darker one."""

MIN_BORDER_SHARE = 0.7
"""Share of the border that is background; with less, the background is cluttered."""

MIN_NOISE = 2.0
"""Standard deviation, in gray levels, from which on a picture is averaged rather than subsampled."""

SHARPENING = 0.35
"""The weight of the difference between an averaged garment and its blurred copy."""


@dataclass(frozen=True)
class PhotoResult:
    """A picture as the data set would show it."""

    pixels: Image.Image
    """L, 28×28."""
    inverted: bool
    crop: Box
    certain: bool


def process_photo(scene: Scene, expected: str = "auto") -> PhotoResult:
    """Trims the garment, resizes it to 28 pixels and centres it, light on black.

    `expected` says how light the background is: auto (as measured), light or dark.
    """
    image, view, background, mask = scene.image, scene.view, scene.background, scene.mask
    whole = (0, 0, *image.size)
    inverted = _must_invert(view, background, mask, expected)
    if _contradicts(background, expected):
        level = luma(view.values) / np.float32(255)
        plain: Floats = 1 - level if inverted else level
        pixels = _resize_to_dataset(plain, _whole(plain), average=background.noise >= MIN_NOISE)
        return PhotoResult(pixels, inverted, whole, certain=False)
    if mask is None:
        brightness, _ = _brightness(view, background, None, inverted)
        pixels = _resize_to_dataset(brightness, _whole(brightness), average=True)
        return PhotoResult(pixels, inverted, whole, certain=False)
    box = _box_with_margin(mask, image.size)
    if box != whole or max(image.size) > FINE_SIDE:
        view = make_view(image, scene.alpha, box, max(1, max(box[2] - box[0], box[3] - box[1]) // FINE_SIDE))
    fine = foreground(view, background) & _resize_mask(mask, view)
    brightness, is_hollow = _brightness(view, background, fine, inverted)
    tight = _whole(fine) if is_cropped_tight(mask) else _garment_box(brightness, fine, view.opaque)
    known = expected != "auto" or not DARK_LEVEL < background.level < LIGHT_LEVEL
    pixels = _resize_to_dataset(brightness, tight, average=is_hollow or background.noise >= MIN_NOISE)
    certain = background.border_share >= MIN_BORDER_SHARE and known
    return PhotoResult(pixels, inverted, _to_picture_pixels(tight, view, box), certain)


def _whole(values: Floats | Mask) -> Box:
    return 0, 0, values.shape[1], values.shape[0]


def _must_invert(view: View, background: Background, mask: Mask | None, expected: str) -> bool:
    """Whether the background is light; one in between is light if the garment is darker than it."""
    if expected != "auto":
        return expected == "light"
    if mask is None or not DARK_LEVEL < background.level < LIGHT_LEVEL:
        return background.level >= (LIGHT_LEVEL + DARK_LEVEL) / 2
    off = luma(view.values - background.sample(view.box, mask.shape))
    return float(off[mask].mean()) < 0


def _contradicts(background: Background, expected: str) -> bool:
    """Whether the border is light though a dark background is expected, or the other way round.

    The border is not the background then, and nothing is known of the background. The picture stays whole.
    """
    light, dark = background.level >= LIGHT_LEVEL, background.level <= DARK_LEVEL
    return (expected == "dark" and light) or (expected == "light" and dark)


def _box_with_margin(mask: Mask, size: tuple[int, int]) -> Box:
    """The garment's box in pixels of the picture, with a small margin; the whole picture if it is cropped tight."""
    if is_cropped_tight(mask):
        return (0, 0, *size)
    box = bounding_box(mask)
    x, y = size[0] / mask.shape[1], size[1] / mask.shape[0]
    margin = 2 + 0.02 * max(box[2] - box[0], box[3] - box[1])
    left, top = max(0, int((box[0] - margin) * x)), max(0, int((box[1] - margin) * y))
    return left, top, min(size[0], int((box[2] + margin) * x) + 1), min(size[1], int((box[3] + margin) * y) + 1)


def _resize_mask(mask: Mask, view: View) -> Mask:
    """The coarse mask, enlarged by two of its pixels, as a mask over the view."""
    height, width = mask.shape
    box = (view.box[0] * width, view.box[1] * height, view.box[2] * width, view.box[3] * height)
    picture = Image.fromarray(dilate(mask, 2).astype(np.uint8))
    size = view.values.shape[1], view.values.shape[0]
    return np.asarray(picture.resize(size, Image.Resampling.NEAREST, box)).astype(bool)


def _to_picture_pixels(tight: Box, view: View, box: Box) -> Box:
    """A box in pixels of the view, which shows `box` of the picture → pixels of the picture."""
    height, width = view.values.shape[:2]
    x, y = (box[2] - box[0]) / width, (box[3] - box[1]) / height
    left, top = box[0] + int(tight[0] * x), box[1] + int(tight[1] * y)
    return left, top, min(box[2], box[0] + round(tight[2] * x)), min(box[3], box[1] + round(tight[3] * y))


def _brightness(view: View, background: Background, mask: Mask | None, inverted: bool) -> tuple[Floats, bool]:
    """`garment_brightness` over a view."""
    level = luma(background.sample(view.box, view.values.shape[:2]))
    return garment_brightness(luma(view.values), level, mask, inverted=inverted)


def _garment_box(brightness: Floats, mask: Mask, opaque: Mask | None) -> Box:
    """The garment's box by its transparency if that agrees with the mask, else by its brightness."""
    box = bounding_box(mask, max(1, max(mask.shape) // 112))
    if opaque is not None:
        own = bounding_box(opaque & mask)
        if max(abs(a - b) for a, b in zip(box, own, strict=True)) <= max(mask.shape) / DATASET_SIZE:
            return own
    return _trim_blurred_edges(brightness, box)


def _trim_blurred_edges(brightness: Floats, box: Box) -> Box:
    """Moves each edge to where the brightness has risen to half of what it is one data-set pixel further in.

    Sharp edges stay where they are.
    """
    left, top, right, bottom = box
    inner = brightness[top:bottom, left:right]
    pixel = round(max(inner.shape) / DATASET_SIZE)
    if pixel < 2 or min(inner.shape) < 3 * pixel:
        return box
    columns, rows = inner.max(axis=0), inner.max(axis=1)
    in_left, in_right, in_top, in_bottom = (
        int((line[: pixel + 1] >= line[pixel] / 2).argmax()) for line in (columns, columns[::-1], rows, rows[::-1])
    )
    return left + in_left, top + in_top, right - in_right, bottom - in_bottom


def _resize_to_dataset(brightness: Floats, box: Box, *, average: bool) -> Image.Image:
    """The longer side resized to 28 pixels, the shorter one extended on both sides, the brightest pixel white.

    The data set was subsampled: each pixel is the middle of its cell. With `average`, or if the box is small, the
    garment is averaged and then sharpened.
    """
    left, top, right, bottom = box
    longer = max(right - left, bottom - top)
    width, height = (max(1, round(DATASET_SIZE * side / longer)) for side in (right - left, bottom - top))
    garment = brightness[top:bottom, left:right]
    if garment.shape != (height, width):
        picture = Image.fromarray(garment)
        if average or longer < 2 * DATASET_SIZE:
            garment = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
            garment = _sharpen(garment) if longer > DATASET_SIZE else garment
        else:
            fine = np.asarray(picture.resize((4 * width, 4 * height), Image.Resampling.BOX))
            garment = (fine[1::4, 1::4] + fine[1::4, 2::4] + fine[2::4, 1::4] + fine[2::4, 2::4]) / 4
    square = np.zeros((DATASET_SIZE, DATASET_SIZE), np.float32)
    x, y = (DATASET_SIZE - width + 1) // 2, (DATASET_SIZE - height + 1) // 2  # odd lines: left and top, as in the data
    scale = 255 / max(EMPTY_BRIGHTNESS, float(garment.max(initial=0)))
    square[y : y + height, x : x + width] = garment * scale
    return Image.fromarray((square + 0.5).clip(0, 255).astype(np.uint8))


def _sharpen(brightness: Floats) -> Floats:
    """Unsharp masking with a Gaussian blur of one pixel."""
    blurred = brightness
    for _ in range(2):
        padded = np.pad(blurred, ((1, 1), (0, 0)), "edge")
        blurred = (0.2741 * (padded[:-2] + padded[2:]) + 0.4518 * padded[1:-1]).T
    return np.asarray(brightness + SHARPENING * (brightness - blurred))
