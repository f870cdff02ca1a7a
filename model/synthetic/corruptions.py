"""Upload recipes that corrupt a data-set picture: the families of Fashion-MNIST-C (Weiss and Tonella 2022)."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from PIL.Image import Resampling

from model.synthetic.canvas import Recipe, encode

Corruption = Callable[[Image.Image, Generator], Image.Image]


def _transformed(image: Image.Image, rng: Generator, *, matrix: tuple[float, float, float, float]) -> Image.Image:
    """Transforms the picture around its centre; what moves in is black."""
    a, b, c, d = matrix
    data = (a, b, 13.5 - 13.5 * (a + b) + 0.5 * (1 - a - b), c, d, 13.5 - 13.5 * (c + d) + 0.5 * (1 - c - d))
    return image.transform(image.size, Image.Transform.AFFINE, data, Resampling.BICUBIC)


def _noisy(image: Image.Image, rng: Generator, *, sd: float) -> Image.Image:
    return Image.fromarray((np.asarray(image) + rng.normal(0, sd, (28, 28))).clip(0, 255).astype(np.uint8))


def _saturated(image: Image.Image, rng: Generator, *, amount: float) -> Image.Image:
    """Gray pictures have no saturation, so the garment is tinted first, as in Fashion-MNIST-C's colour variant."""
    tinted = ImageOps.colorize(image, "black", "white", mid="steelblue")
    return ImageEnhance.Color(tinted).enhance(amount)


def _blurred(image: Image.Image, rng: Generator, *, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _rotated(image: Image.Image, rng: Generator, *, degrees: float) -> Image.Image:
    return image.rotate(degrees, Resampling.BICUBIC)


def _brightened(image: Image.Image, rng: Generator, *, by: int) -> Image.Image:
    return image.point([min(255, v + by) for v in range(256)])


def _lower_contrast(image: Image.Image, rng: Generator, *, to: float) -> Image.Image:
    return image.point([round(128 + to * (v - 128)) for v in range(256)])


def _corrupted(image: Image.Image, rng: Generator, *, change: Corruption) -> bytes:
    return encode(change(image, rng), "PNG")


CORRUPTIONS: dict[str, list[Corruption]] = {
    "noise": [partial(_noisy, sd=sd) for sd in (10, 25, 45)],
    "blur": [partial(_blurred, radius=radius) for radius in (0.5, 1, 1.5)],
    "shear": [partial(_transformed, matrix=(1, by, 0, 1)) for by in (0.1, 0.2, 0.35)],
    "scale": [partial(_transformed, matrix=(1 / to, 0, 0, 1 / to)) for to in (0.9, 0.75, 0.6)],
    "rotation": [partial(_rotated, degrees=degrees) for degrees in (5, 12, 25)],
    "brightness": [partial(_brightened, by=by) for by in (25, 60, 100)],
    "contrast": [partial(_lower_contrast, to=to) for to in (0.75, 0.5, 0.3)],
    "saturation": [partial(_saturated, amount=amount) for amount in (0.5, 2, 4)],
}
"""By family, at three strengths. The family "inverse" is `negated` in model.synthetic.uploads.LOSSLESS."""

CORRUPTED: dict[str, Recipe] = {
    f"{family} {strength}": partial(_corrupted, change=change)
    for family, changes in CORRUPTIONS.items()
    for strength, change in enumerate(changes, 1)
}
