"""Any picture → uint8 [96,96], the one definition for training, evaluation and serving.

`native` is the picture upright, alpha over white, gray, stretched to 96×96: what fits pictures that
already look like the data set, a light garment on black, cropped tight.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

VERSION = 1
"""Changes with every change of what comes out; a checkpoint made for another version is refused."""

SIZE = 96
"""Height and width of what the network sees, in pixels."""

Pixels = NDArray[np.uint8]


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


def preprocess(image: Image.Image) -> Preprocessed:
    """Brings any picture to what the network was trained on.

    Raises ValueError for a colour mode that has no meaning in gray.
    """
    image = upright(image)
    return Preprocessed(native(image), mode="native", inverted=False, crop=(0, 0, *image.size), certain=True)


def native(image: Image.Image) -> Pixels:
    """`convert("L")` and `resize((96, 96), BILINEAR)`, alpha over white → uint8 [96,96]."""
    return np.asarray(gray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def upright(image: Image.Image) -> Image.Image:
    """Turned and mirrored as its EXIF orientation says."""
    return ImageOps.exif_transpose(image)


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
