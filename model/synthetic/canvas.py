"""What remade pictures are drawn on: a garment in front of something, saved as somebody would save it."""

import io
from typing import Any

from numpy.random import Generator
from PIL import Image
from PIL.Image import Resampling

Colour = tuple[int, int, int]

BLACK, WHITE, OFF_WHITE, GRAY, BEIGE = (0, 0, 0), (255, 255, 255), (245, 245, 245), (222, 222, 222), (236, 226, 208)
BLUE, RED, YELLOW = (30, 60, 140), (190, 30, 45), (220, 180, 40)


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    """The file's bytes; a PNG is compressed as fast as can be."""
    file = io.BytesIO()
    image.save(file, format, **({"compress_level": 1} if format == "PNG" else {}), **options)
    return file.getvalue()


def canvas(
    image: Image.Image,
    draw: Generator,
    *,
    size: tuple[int, int],
    background: Colour = WHITE,
    share: tuple[float, float] = (0.5, 0.9),
    colour: Colour = BLACK,
) -> Image.Image:
    """The garment, as opaque as it is light in the data set, somewhere on a canvas; `share` of its shorter side."""
    side = round(min(size) * draw.uniform(*share))
    place = (int(draw.integers(0, size[0] - side + 1)), int(draw.integers(0, size[1] - side + 1)))
    page = Image.new("RGB", size, background)
    page.paste(colour, (*place, place[0] + side, place[1] + side), image.resize((side, side), Resampling.BICUBIC))
    return page
