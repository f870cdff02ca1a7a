"""Any picture → uint8 [96,96], the one definition for training, evaluation and serving.

`native` is the picture upright, alpha over white, gray, stretched to 96×96: what fits pictures that
already look like the data set, a light garment on black, cropped tight.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from model.photo import look, photo

VERSION = 1
"""Changes with every change of what comes out; a checkpoint made for another version is refused."""

SIZE = 96
"""Height and width of what the network sees, in pixels."""

SMALL = 32
"""Pixels a side: pictures up to this size are told from photos by their border alone."""

BLACK = 24
"""Gray levels up to which a border is black."""

FILLED = 0.75
"""Of its longer side, what a garment in the data set fills at least (26 of 28 pixels among 60,000)."""

Pixels = NDArray[np.uint8]
Mode = Literal["auto", "native", "photo"]
Ground = Literal["auto", "light", "dark"]
"""What is behind the garment."""


@dataclass(frozen=True)
class Preprocessed:
    """The 96×96 picture and what was done to get it."""

    pixels: Pixels
    """uint8 [96,96]."""
    mode: str
    inverted: bool
    crop: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the upright picture."""
    certain: bool


def preprocess(image: Image.Image, mode: Mode = "auto", background: Ground = "auto") -> Preprocessed:
    """Brings any picture to what the network was trained on.

    `auto` is `native` for pictures that look like the data set's own, `photo` for all others. `background` is what
    `photo` then takes for granted; of a light one no picture looks like the data set.
    Raises ValueError for a colour mode that has no meaning in gray.
    """
    image = upright(image)
    if mode == "native":
        return _natively(image, native(image))
    if mode == "auto" and background != "light" and max(image.size) <= SMALL:
        level = gray(image)
        enlarged = _enlarged(level)
        if looks_native(level, enlarged):
            return _natively(image, enlarged)
    scene = look(*on_white(image))
    if mode == "auto" and background != "light" and max(image.size) > SMALL and scene.looks_native:
        return _natively(image, native(image))
    result = photo(scene, background)
    return Preprocessed(_enlarged(result.pixels), "photo", result.inverted, result.crop, result.certain)


def native(image: Image.Image) -> Pixels:
    """`convert("L")` and `resize((96, 96), BILINEAR)`, alpha over white → uint8 [96,96]."""
    return _enlarged(gray(image))


def _natively(image: Image.Image, pixels: Pixels) -> Preprocessed:
    return Preprocessed(pixels, mode="native", inverted=False, crop=(0, 0, *image.size), certain=True)


def _enlarged(level: Image.Image) -> Pixels:
    pixels = level.resize((SIZE, SIZE), Image.Resampling.BILINEAR).tobytes()
    return np.frombuffer(pixels, np.uint8).reshape(SIZE, SIZE)


def looks_native(level: Image.Image, enlarged: Pixels) -> bool:
    """Whether a small gray picture is one of the data set's: square, filled, its border dark or of no one colour.

    The border is read from the enlarged picture, uint8 [96,96], which is at hand, and in plain bytes, because numpy
    takes longer on so few.
    """
    width, height = level.size
    box = level.getbbox()
    if box is None or not 0.9 <= width / height <= 1.1:
        return False
    border = enlarged[0].tobytes() + enlarged[-1].tobytes() + enlarged[:, 0].tobytes() + enlarged[:, -1].tobytes()
    median = 0 if 2 * border.count(0) > len(border) else sorted(border)[len(border) // 2]
    if median > BLACK:
        alike = sum(abs(value - median) <= BLACK // 2 for value in border)
        return median < 128 and alike < len(border) // 2
    return max(box[2] - box[0], box[3] - box[1]) >= FILLED * max(width, height)


def upright(image: Image.Image) -> Image.Image:
    """Turned and mirrored as its EXIF orientation says."""
    image.load()  # a PNG may have its EXIF data behind the pixels
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def on_white(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Any mode → L or RGB, 8 bits, composited on white, and the alpha channel if there is one."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image, None
    if image.mode == "1" or image.mode == "F" or image.mode.startswith("I"):
        return gray(image), None
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB"), picture.getchannel("A")
    return image.convert("RGB"), None


def gray(image: Image.Image) -> Image.Image:
    """Any mode → mode L, 8 bits, alpha over white, deeper samples scaled rather than cut off."""
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        samples = np.asarray(image)
        transparent = samples == image.info["transparency"] if "transparency" in image.info else False
        return Image.fromarray(np.where(transparent, np.uint8(255), _eight_bits(samples)))
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("L")
    return image.convert("L")


def _eight_bits(samples: NDArray[np.generic]) -> Pixels:
    """Integer or float samples → uint8, by the range they are in: 0–1 (floats), 0–255, 0–65535 or 0–2³¹−1."""
    values = np.nan_to_num(samples.astype(np.float64)).clip(0)
    peak = values.max(initial=0)
    if samples.dtype.kind == "f":
        full = 1.0 if peak <= 1 else 255.0
    elif samples.dtype.itemsize == 2:
        full = 65535.0
    else:
        full = 255.0 if peak <= 255 else 65535.0 if peak <= 65535 else 2.0**31 - 1
    return (values * (255 / full) + 0.5).clip(0, 255).astype(np.uint8)
