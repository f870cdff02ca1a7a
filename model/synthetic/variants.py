"""Augmented data-set pictures: in-distribution examples for training the out-of-distribution detector.

Each picture gets one to three changes: blurred, sharpened, noisy, fainter, fewer grays, rotated, smaller. Some are
then enlarged with a margin, most of these dark on white.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter


def make_variants(garments: NDArray[np.uint8], seed: int) -> list[Image.Image]:
    """uint8 [n,h,w], light garments on black → n pictures, mode L."""
    rng = np.random.default_rng([seed, 1])
    return [_make_variant(Image.fromarray(picture), rng) for picture in garments]


def _make_variant(image: Image.Image, rng: Generator) -> Image.Image:
    for change in rng.choice(len(CHANGES), size=rng.integers(1, 4), replace=False):
        image = CHANGES[change](image, rng)
    return _enlarge(image, rng) if rng.random() < 0.3 else image


def _blur(image: Image.Image, rng: Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(image.width * rng.uniform(0.01, 0.04)))


def _sharpen(image: Image.Image, rng: Generator) -> Image.Image:
    return image.filter(ImageFilter.UnsharpMask(2, int(rng.uniform(50, 200)), 0))


def _add_noise(image: Image.Image, rng: Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(4, 25), image.size[::-1])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _change_contrast(image: Image.Image, rng: Generator) -> Image.Image:
    gain, power = rng.uniform(0.5, 1.3), rng.uniform(0.6, 1.6)
    return image.point(lambda v: min(255, round(255 * gain * (v / 255) ** power)))


def _reduce_grays(image: Image.Image, rng: Generator) -> Image.Image:
    """Reduces the picture to one, two or three grays on black, like a drawing."""
    steps, top = rng.choice([1, 2, 3]), rng.uniform(120, 255)
    return image.point(lambda v: round(top * min(1.0, np.ceil(max(0, v - 24) / 232 * steps) / steps)))


def _rotate(image: Image.Image, rng: Generator) -> Image.Image:
    return image.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)


def _resize(image: Image.Image, rng: Generator) -> Image.Image:
    """Reduces width and height independently and places the garment anywhere in the picture."""
    width, height = (max(8, round(side * rng.uniform(0.65, 1))) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    canvas = Image.new("L", image.size)
    canvas.paste(
        small, (int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1)))
    )
    return canvas


def _enlarge(image: Image.Image, rng: Generator) -> Image.Image:
    """Enlarges the picture with a margin, in two of three cases dark on white."""
    side, margin = int(rng.integers(96, 200)), int(rng.integers(0, 60))
    canvas = Image.new("L", (side + 2 * margin, side + 2 * margin))
    canvas.paste(image.resize((side, side), Image.Resampling.BICUBIC), (margin, margin))
    return canvas.point(lambda v: 255 - v) if rng.random() < 0.67 else canvas


CHANGES: tuple[Callable[[Image.Image, Generator], Image.Image], ...]
CHANGES = (_blur, _sharpen, _add_noise, _change_contrast, _reduce_grays, _rotate, _resize)
