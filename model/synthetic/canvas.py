"""Places a garment on a canvas, and encodes pictures as files."""

import io
from collections.abc import Callable
from typing import Any

from numpy.random import Generator
from PIL import Image
from PIL.Image import Resampling

Colour = tuple[int, int, int]

Recipe = Callable[[Image.Image, Generator], bytes]
"""Makes the bytes of a file from a data-set picture."""

BLACK, WHITE, GRAY, BLUE, RED = (0, 0, 0), (255, 255, 255), (222, 222, 222), (30, 60, 140), (190, 30, 45)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    """The file's bytes. PNG uses the fastest compression."""
    file = io.BytesIO()
    image.save(file, format, **({"compress_level": 1} if format == "PNG" else {}), **options)
    return file.getvalue()


def place_on_canvas(
    image: Image.Image,
    rng: Generator,
    *,
    size: tuple[int, int],
    background: Colour = WHITE,
    share: tuple[float, float] = (0.5, 0.9),
    colour: Colour = BLACK,
) -> Image.Image:
    """The garment at a random place and of a random size on a canvas.

    A pixel is as opaque as it is light in the data set. `share` bounds the garment's size, of the shorter side.
    """
    side = round(min(size) * rng.uniform(*share))
    place = (int(rng.integers(0, size[0] - side + 1)), int(rng.integers(0, size[1] - side + 1)))
    page = Image.new("RGB", size, background)
    page.paste(colour, (*place, place[0] + side, place[1] + side), image.resize((side, side), Resampling.BICUBIC))
    return page
