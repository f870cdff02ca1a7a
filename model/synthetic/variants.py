"""Garments as they might be sent, other than the data set's own: what the detector must not call strange.

Blurred, noisy, faint, flat, turned, smaller, off-centre, dark on white: each picture one to three of
these, before the service's preprocessing.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter


def vary(garments: NDArray[np.uint8], seed: int) -> list[Image.Image]:
    """uint8 [n,h,w], light garments on black → n pictures, mode L."""
    rng = np.random.default_rng([seed, 1])
    return [_vary(Image.fromarray(picture), rng) for picture in garments]


def _vary(image: Image.Image, rng: Generator) -> Image.Image:
    for change in rng.choice(len(CHANGES), size=rng.integers(1, 4), replace=False):
        image = CHANGES[change](image, rng)
    if rng.random() < 0.3:
        return _sent_large(image, rng)
    return image


def _blur(image: Image.Image, rng: Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(image.width * rng.uniform(0.01, 0.04)))


def _sharpen(image: Image.Image, rng: Generator) -> Image.Image:
    return image.filter(ImageFilter.UnsharpMask(2, int(rng.uniform(50, 200)), 0))


def _grain(image: Image.Image, rng: Generator) -> Image.Image:
    pixels = np.asarray(image, np.float32) + rng.normal(0, rng.uniform(4, 25), image.size[::-1])
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _contrast(image: Image.Image, rng: Generator) -> Image.Image:
    gain, power = rng.uniform(0.5, 1.3), rng.uniform(0.6, 1.6)
    return image.point(lambda v: min(255, round(255 * gain * (v / 255) ** power)))


def _flatten(image: Image.Image, rng: Generator) -> Image.Image:
    """Like a drawing: fewer grays, in one case in three a single one."""
    steps, top = rng.choice([1, 2, 3]), rng.uniform(120, 255)
    return image.point(lambda v: round(top * min(1.0, np.ceil(max(0, v - 24) / 232 * steps) / steps)))


def _turn(image: Image.Image, rng: Generator) -> Image.Image:
    return image.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)


def _resize(image: Image.Image, rng: Generator) -> Image.Image:
    """Smaller, or wider or narrower, anywhere within the picture."""
    width, height = (max(8, round(side * rng.uniform(0.65, 1))) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    canvas = Image.new("L", image.size)
    canvas.paste(
        small, (int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1)))
    )
    return canvas


def _sent_large(image: Image.Image, rng: Generator) -> Image.Image:
    """Enlarged, with a wide margin, two times in three dark on white."""
    side, margin = int(rng.integers(96, 200)), int(rng.integers(0, 60))
    canvas = Image.new("L", (side + 2 * margin, side + 2 * margin))
    canvas.paste(image.resize((side, side), Image.Resampling.BICUBIC), (margin, margin))
    return canvas.point(lambda v: 255 - v) if rng.random() < 0.67 else canvas


CHANGES: tuple[Callable[[Image.Image, Generator], Image.Image], ...] = (
    *(_blur, _sharpen, _grain, _contrast, _flatten, _turn, _resize),
)
