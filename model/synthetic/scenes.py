"""Recipes for what is around a garment and how it lies: turned, padded, plotted, in a badge."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageOps
from PIL.Image import Resampling, Transpose

from model.synthetic.canvas import BLACK, BLUE, WHITE, Colour, canvas, save
from model.synthetic.drawing import spectrum, stretch

QUARTERS = {90: Transpose.ROTATE_90, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_270}
"""Degrees counter-clockwise, as Pillow and numpy count them."""

Recipe = Callable[[Image.Image, Generator], bytes]

SIDES = ("left", "top", "right", "bottom")


def _turned(image: Image.Image, draw: Generator, *, degrees: int) -> bytes:
    return save(image.transpose(QUARTERS[degrees]), "PNG")


def _turned_photo(image: Image.Image, draw: Generator, *, degrees: int, **place: Any) -> bytes:
    """A JPEG whose EXIF orientation got lost on the way."""
    return save(canvas(image, draw, size=(300, 400), **place).transpose(QUARTERS[degrees]), "JPEG", quality=85)


def _padded(
    image: Image.Image, draw: Generator, *, colour: Colour | None, sides: int | tuple[str, ...], format: str = "PNG"
) -> bytes:
    """A product photo with bars on some sides, a tenth to a half of its own length each; two are opposite ones."""
    photo = canvas(image, draw, size=(400, 300) if draw.random() < 0.5 else (300, 400), share=(0.6, 0.9))
    chosen = _sides(sides, draw) if isinstance(sides, int) else sides
    left, top, right, bottom = (
        round(length * draw.uniform(0.1, 0.5)) if side in chosen else 0
        for side, length in zip(SIDES, 2 * photo.size, strict=True)
    )
    bars = tuple(int(level) for level in draw.integers(0, 200, 3)) if colour is None else colour
    page = Image.new("RGB", (left + photo.width + right, top + photo.height + bottom), bars)
    page.paste(photo, (left, top))
    return save(page, format, **({"quality": 85} if format == "JPEG" else {}))


def _sides(count: int, draw: Generator) -> tuple[str, ...]:
    if count == 2:
        return SIDES[::2] if draw.random() < 0.5 else SIDES[1::2]
    return tuple(SIDES[i] for i in draw.permutation(4)[:count])


def _badge(
    image: Image.Image,
    draw: Generator,
    *,
    disc: Colour,
    colour: Colour,
    page: Colour = WHITE,
    rim: Colour | None = None,
    size: tuple[int, int] = (400, 400),
) -> bytes:
    """A garment on a disc, which may have a rim, on a page."""
    radius = min(size) * draw.uniform(0.35, 0.48)
    x, y = (draw.uniform(radius + 2, length - radius - 2) for length in size)
    picture = Image.new("RGB", size, page)
    pen = ImageDraw.Draw(picture)
    pen.circle((x, y), radius, rim or disc)
    if rim:
        pen.circle((x, y), 0.9 * radius, disc)
    side = round(radius * 1.2)
    corner = round(x - side / 2), round(y - side / 2)
    picture.paste(colour, (*corner, corner[0] + side, corner[1] + side), image.resize((side, side), Resampling.BICUBIC))
    return save(picture, "PNG")


def _round_photo(image: Image.Image, draw: Generator) -> bytes:
    """A light gray product photo cut out round, its corners transparent, as services show people's own pictures."""
    photo = canvas(image, draw, size=(280, 280), background=(222, 222, 222), share=(0.6, 0.7)).convert("RGBA")
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).circle((140, 140), 139, 255)
    photo.putalpha(mask)
    return save(photo, "PNG")


def _two_tone(image: Image.Image, draw: Generator, *, colour: Colour = BLACK) -> bytes:
    """In front of a wall, standing on a floor of another tone."""
    width, height = 400, 300
    tones = np.arange(120, 256, 15) if colour == BLACK else np.arange(30, 166, 15)
    floor, wall = sorted(int(level) for level in draw.choice(tones, 2, replace=False))
    page = Image.new("RGB", (width, height), (wall,) * 3)
    side = round(height * draw.uniform(0.55, 0.8))
    x, y = int(draw.integers(0, width - side + 1)), int(draw.integers(0, height - side + 1))
    page.paste((floor,) * 3, (0, round(y + side * draw.uniform(0.5, 0.85)), width, height))
    page.paste(colour, (x, y, x + side, y + side), image.resize((side, side), Resampling.BICUBIC))
    return save(page, "JPEG", quality=85)


def _pair(image: Image.Image, draw: Generator) -> bytes:
    """Twice, side by side, the second at times mirrored."""
    side = round(draw.uniform(150, 190))
    gap = round(draw.uniform(0, 30))
    page = Image.new("RGB", (440, 300), WHITE)
    one = image.resize((side, side), Resampling.BICUBIC)
    two = ImageOps.mirror(one) if draw.random() < 0.5 else one
    x, y = (440 - 2 * side - gap) // 2, (300 - side) // 2
    for place, garment in ((x, one), (x + side + gap, two)):
        page.paste(BLACK, (place, y, place + side, y + side), garment)
    return save(page, "JPEG", quality=85)


def _on_texture(image: Image.Image, draw: Generator, *, wood: bool, colour: Colour = BLACK) -> bytes:
    """On boards, or on something rough."""
    side = 300
    field = spectrum(draw, 512, 1.3)
    grain = stretch(np.asarray(Image.fromarray(field[:60]).resize((side, side), Resampling.BICUBIC)) if wood else field)
    tone = 120 + 110 * grain[:side, :side]
    if wood:
        boards = np.repeat(draw.normal(0, 12, 5), 60)[:, None]
        tone = tone + boards - 60 * (np.arange(side)[:, None] % 60 < 2)
    tint = np.array([1, 0.8, 0.6]) if wood else np.ones(3)
    page = Image.fromarray((tone[..., None] * tint).clip(0, 255).astype(np.uint8))
    garment = round(side * draw.uniform(0.6, 0.85))
    x, y = (int(draw.integers(0, side - garment + 1)) for _ in range(2))
    mask = image.resize((garment, garment), Resampling.BICUBIC)
    page.paste(colour, (x, y, x + garment, y + garment), mask)
    return save(page, "JPEG", quality=85)


def _plotted(image: Image.Image, draw: Generator, *, cmap: str, axes: bool = True, bar: bool = False) -> bytes:
    """matplotlib's imshow, as savefig leaves it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3) if bar else (3.2, 3.2), dpi=int(draw.integers(60, 111)))
    plot = figure.add_subplot()
    shown = plot.imshow(np.asarray(image), cmap=cmap)
    if bar:
        figure.colorbar(shown)
    if not axes:
        plot.axis("off")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


TURNED: dict[str, Recipe] = {
    **{f"dark, turned {k}": partial(_turned_photo, degrees=k) for k in QUARTERS},
    **{
        f"white, turned {k}": partial(_turned_photo, degrees=k, background=(40, 40, 40), colour=WHITE)
        for k in (90, 180)
    },
    **{f"28×28, turned {k}": partial(_turned, degrees=k) for k in QUARTERS},
}

PADDED: dict[str, Recipe] = {
    "not padded": partial(_padded, colour=BLACK, sides=()),
    **{
        f"{name} bars, {sides}": partial(_padded, colour=colour, sides=sides)
        for name, colour in (("black", BLACK), ("gray", (114, 114, 114)), ("coloured", None))
        for sides in (1, 2, 3, 4)
    },
    "white bars, 2": partial(_padded, colour=WHITE, sides=2),
    "screenshot, black bars": partial(_padded, colour=BLACK, sides=("top", "bottom"), format="JPEG"),
}

FIGURES: dict[str, Recipe] = {
    "gray, axes": partial(_plotted, cmap="gray"),
    "binary, axes": partial(_plotted, cmap="binary"),
    "viridis, axes": partial(_plotted, cmap="viridis"),
    "gray, no axes": partial(_plotted, cmap="gray", axes=False),
    "gray, colour bar": partial(_plotted, cmap="gray", bar=True),
    "binary, colour bar": partial(_plotted, cmap="binary", bar=True),
    "viridis, colour bar": partial(_plotted, cmap="viridis", bar=True),
}

ARRANGED: dict[str, Recipe] = {
    "white on a blue disc": partial(_badge, disc=BLUE, colour=WHITE),
    "black on a light disc": partial(_badge, disc=(235, 225, 200), colour=BLACK, page=(120, 160, 150)),
    "badge with a rim": partial(_badge, disc=WHITE, colour=BLACK, rim=(190, 30, 45)),
    "white on a disc on black": partial(_badge, disc=(90, 40, 120), colour=WHITE, page=BLACK),
    "round photo": _round_photo,
    "wall and floor": _two_tone,
    "wall and floor, white": partial(_two_tone, colour=WHITE),
    "side by side": _pair,
    "on wood": partial(_on_texture, wood=True),
    "on something rough": partial(_on_texture, wood=False),
}
