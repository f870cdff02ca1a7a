"""Any Pillow image mode → 8-bit gray or RGB, upright, transparency composited on white."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

TRANSPOSE_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation. ImageOps.exif_transpose writes all EXIF data anew, which can take a second."""

STRIP_PIXELS = 500_000
"""Large pictures are converted in strips of so many pixels, so that the conversion needs little memory."""

WHITE_LEVELS = (1, 2**8 - 1, 2**10 - 1, 2**12 - 1, 2**14 - 1, 2**16 - 1, 2**31 - 1)
"""White in samples of more than 8 bits: of fractions, and of the depths of cameras and scanners."""

OVERSHOOT = 1.1
"""Float samples may exceed white by this factor, as interpolation leaves them; they are clipped."""

MAX_SAMPLED_SIDE = 32
"""Larger pictures are first tested for 0 and 1 on a few of their pixels."""


def make_upright(image: Image.Image) -> Image.Image:
    """Rotates and mirrors the picture as its EXIF orientation says."""
    image.load()  # a PNG may have its EXIF data behind the pixels
    method = TRANSPOSE_METHODS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if method is None else image.transpose(method)


def is_scaled_to_one(image: Image.Image) -> bool:
    """Whether all 8-bit samples are 0 or 1: an array that was divided by 255 before it was saved, or a mask."""
    if image.mode not in ("L", "RGB", "LA", "RGBA"):
        return False
    if max(image.size) > MAX_SAMPLED_SIDE and _maximum(image.resize((4, 4), Image.Resampling.NEAREST)) > 1:
        return False
    return _maximum(image) == 1


def _maximum(image: Image.Image) -> int:
    """The highest sample of all channels but alpha."""
    if image.mode == "L":
        return image.getextrema()[1]  # type: ignore[return-value]
    return max(highest for _, highest in image.getextrema()[: 1 if image.mode == "LA" else 3])  # type: ignore[misc]


def scale_to_255(image: Image.Image) -> Image.Image:
    """Samples of 0 and 1 → 0 and 255. The array's fractions were lost when it was saved."""
    return image.point(([0] + [255] * 255) * len(image.getbands()))


def composite_on_white(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Any mode → 8-bit L or RGB on white, and the alpha channel, L, if there is one."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image, None
    if image.mode == "1" or image.mode == "F" or image.mode.startswith("I"):
        return to_gray(image), None
    if image.has_transparency_data:
        return _composite(image)
    return image.convert("RGB"), None


def to_gray(image: Image.Image) -> Image.Image:
    """Any mode → 8-bit L on white. Samples of more than 8 bits are scaled, not clipped.

    Raises ValueError for a colour mode that Pillow cannot convert to gray.
    """
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _to_8_bits(image)
    if image.has_transparency_data:
        return _composite(image)[0].convert("L")
    return image.convert("L")


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Top edge and picture of each horizontal strip."""
    height = max(1, STRIP_PIXELS // max(1, image.width))
    if height >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, height):
        yield top, image.crop((0, top, image.width, min(top + height, image.height)))


def _composite(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """RGB on white, and the alpha channel."""
    picture, alpha = Image.new("RGB", image.size), Image.new("L", image.size)
    for top, strip in _strips(image):
        colours = strip.convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        picture.paste(Image.alpha_composite(white, colours).convert("RGB"), (0, top))
        alpha.paste(colours.getchannel("A"), (0, top))
    return picture, alpha


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Integer or float samples → L, scaled from the smallest of WHITE_LEVELS that holds them all."""
    level, transparent = Image.new("L", image.size), image.info.get("transparency")
    limits = np.array(WHITE_LEVELS) * (OVERSHOOT if image.mode == "F" else 1)
    values = (_not_negative(np.asarray(strip)) for _, strip in _strips(image))
    peak = max(float(part.max(initial=0, where=part <= limits[-1])) for part in values)  # more is no sample
    white = WHITE_LEVELS[int(np.searchsorted(limits, peak))]
    for top, strip in _strips(image):
        samples = np.asarray(strip)
        pixels = (_not_negative(samples) * (255 / white) + 0.5).clip(0, 255).astype(np.uint8)
        if transparent is not None:
            pixels[samples == transparent] = 255
        level.paste(Image.fromarray(pixels), (0, top))
    return level


def _not_negative(samples: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.nan_to_num(samples.astype(np.float64), posinf=np.inf).clip(0)
