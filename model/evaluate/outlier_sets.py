"""Evaluation sets for the out-of-distribution detector: six kinds of pictures that it was not trained on.

The pictures come from installed packages: digits from scikit-learn, letters from matplotlib's fonts, textures and
photographs from scikit-image and scikit-learn. Noise and gradients are computed. Needs the `train` extra.
"""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from string import ascii_letters

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SEED = 7

FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralItalic", "cmr10", "cmss10", "cmtt10"),
)

TEXTURES = ("brick.png", "grass.png", "gravel.png")

PHOTOGRAPHS = (
    *("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "hubble_deep_field.jpg", "ihc.png"),
    *("moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
)


def digits() -> Iterator[Image.Image]:
    """scikit-learn's 1,797 handwritten digits, light on dark and dark on light, at 8 and at 28 pixels."""
    from sklearn.datasets import load_digits

    for i, picture in enumerate(load_digits().images):
        image = Image.fromarray((picture * (255 / 16)).astype(np.uint8))
        image = image.resize((28, 28), Image.Resampling.BICUBIC) if i // 2 % 2 else image
        yield _inverted(image) if i % 2 else image


def letters() -> Iterator[Image.Image]:
    """A–Z and a–z in ten fonts, light on dark and dark on light, alternating between 28 and 160 pixels."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for i, (name, letter) in enumerate(product(FONTS, ascii_letters)):
        side = 160 if i % 2 else 28
        font = ImageFont.truetype(folder / f"{name}.ttf", round(0.75 * side))
        image = Image.new("L", (side, side))
        ImageDraw.Draw(image).text((side / 2, side / 2), letter, fill=255, font=font, anchor="mm")
        yield from (image, _inverted(image))


def noise() -> Iterator[Image.Image]:
    """Uniform, Gaussian, and salt-and-pepper noise at 28, 96 and 200 pixels, 100 pictures of each."""
    rng = np.random.default_rng(SEED)
    for side, _ in product((28, 96, 200), range(100)):
        shape = (side, side)
        yield _image(rng.random(shape))
        yield _image(rng.normal(rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.3), shape))
        level = rng.uniform(0.02, 0.5)
        yield _image(np.where(rng.random(shape) < level, rng.random(shape) < 0.5, rng.choice([0, 0.5])).astype(float))


def gradients() -> Iterator[Image.Image]:
    """Linear and radial gradients between two random grays, at 28 and 96 pixels, 100 of each."""
    rng = np.random.default_rng(SEED)
    for side, kind, _ in product((28, 96), (0, 1), range(100)):
        y, x = np.mgrid[:side, :side] / (side - 1)
        angle, centre = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8, 2)
        ramp = np.hypot(y - centre[0], x - centre[1]) if kind else x * np.cos(angle) + y * np.sin(angle)
        ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min())
        low, high = rng.choice([0.0, rng.uniform(0, 0.4)]), rng.choice([1.0, rng.uniform(0.6, 1)])
        yield _image(low + (high - low) * (ramp if rng.random() < 0.5 else 1 - ramp))


def textures() -> Iterator[Image.Image]:
    """100 square crops of each of scikit-image's brick, grass and gravel, 48 to 256 pixels."""
    return _crops(_scikit_image(TEXTURES), np.random.default_rng(SEED), 100, (48, 256))


def photographs() -> Iterator[Image.Image]:
    """30 square crops of each photograph in scikit-image and scikit-learn, from 96 pixels to the shorter side."""
    from sklearn.datasets import load_sample_images

    images = [*_scikit_image(PHOTOGRAPHS), *(Image.fromarray(image) for image in load_sample_images().images)]
    return _crops(images, np.random.default_rng(SEED), 30, (96, 2000))


SETS: dict[str, Callable[[], Iterator[Image.Image]]] = {
    pictures.__name__: pictures for pictures in (digits, letters, noise, gradients, textures, photographs)
}


def _scikit_image(names: tuple[str, ...]) -> list[Image.Image]:
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return [Image.open(folder / name).convert("RGB") for name in names]


def _crops(images: list[Image.Image], rng: Generator, count: int, sides: tuple[int, int]) -> Iterator[Image.Image]:
    for image, _ in product(images, range(count)):
        side = int(rng.integers(sides[0], min(sides[1], *image.size) + 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
        yield image.crop((left, top, left + side, top + side))


def _image(values: NDArray[np.float64]) -> Image.Image:
    """Floats in 0–1 → an image of mode L."""
    return Image.fromarray((255 * values.clip(0, 1)).astype(np.uint8))


def _inverted(image: Image.Image) -> Image.Image:
    return image.point(lambda v: 255 - v)
