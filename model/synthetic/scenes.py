"""Synthetic uploads with other surroundings or orientation: rotated, padded, shown as a plotted figure, in a badge."""

import io
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageOps
from PIL.Image import Resampling, Transpose

from model.synthetic.canvas import BLACK, BLUE, GRAY, RED, WHITE, Colour, Recipe, encode, place_on_canvas
from model.synthetic.drawing import power_law_noise, stretch

QUARTER_TURNS = {90: Transpose.ROTATE_90, 180: Transpose.ROTATE_180, 270: Transpose.ROTATE_270}
"""Degrees counter-clockwise, as Pillow and numpy count them."""

SIDES = ("left", "top", "right", "bottom")


def _rotated(image: Image.Image, rng: Generator, *, degrees: int) -> bytes:
    return encode(image.transpose(QUARTER_TURNS[degrees]), "PNG")


def _rotated_photo(image: Image.Image, rng: Generator, *, degrees: int, **canvas_options: Any) -> bytes:
    """A rotated JPEG that has lost its EXIF orientation."""
    photo = place_on_canvas(image, rng, size=(300, 400), **canvas_options)
    return encode(photo.transpose(QUARTER_TURNS[degrees]), "JPEG", quality=85)


def _padded(
    image: Image.Image, rng: Generator, *, colour: Colour | None, sides: int | tuple[str, ...], format: str = "PNG"
) -> bytes:
    """A product photo with bars on some sides, each a tenth to a half as wide as the photo; two bars are opposite."""
    photo = place_on_canvas(image, rng, size=(400, 300) if rng.random() < 0.5 else (300, 400), share=(0.6, 0.9))
    chosen = _sides(sides, rng) if isinstance(sides, int) else sides
    left, top, right, bottom = (
        round(length * rng.uniform(0.1, 0.5)) if side in chosen else 0
        for side, length in zip(SIDES, 2 * photo.size, strict=True)
    )
    bars = tuple(int(level) for level in rng.integers(0, 200, 3)) if colour is None else colour
    page = Image.new("RGB", (left + photo.width + right, top + photo.height + bottom), bars)
    page.paste(photo, (left, top))
    return encode(page, format, **({"quality": 85} if format == "JPEG" else {}))


def _sides(count: int, rng: Generator) -> tuple[str, ...]:
    if count == 2:
        return SIDES[::2] if rng.random() < 0.5 else SIDES[1::2]
    return tuple(SIDES[i] for i in rng.permutation(4)[:count])


def _badge(
    image: Image.Image,
    rng: Generator,
    *,
    disc: Colour,
    colour: Colour,
    page: Colour = WHITE,
    rim: Colour | None = None,
    size: tuple[int, int] = (400, 400),
) -> bytes:
    """A garment on a disc on a page; the disc may have a rim."""
    radius = min(size) * rng.uniform(0.35, 0.48)
    x, y = (rng.uniform(radius + 2, length - radius - 2) for length in size)
    picture = Image.new("RGB", size, page)
    pen = ImageDraw.Draw(picture)
    pen.circle((x, y), radius, rim or disc)
    if rim:
        pen.circle((x, y), 0.9 * radius, disc)
    side = round(radius * 1.2)
    corner = round(x - side / 2), round(y - side / 2)
    picture.paste(colour, (*corner, corner[0] + side, corner[1] + side), image.resize((side, side), Resampling.BICUBIC))
    return encode(picture, "PNG")


def _round_photo(image: Image.Image, rng: Generator) -> bytes:
    """A light gray product photo with transparent corners, like a round profile picture."""
    photo = place_on_canvas(image, rng, size=(280, 280), background=GRAY, share=(0.6, 0.7)).convert("RGBA")
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).circle((140, 140), 139, 255)
    photo.putalpha(mask)
    return encode(photo, "PNG")


def _wall_and_floor(image: Image.Image, rng: Generator, *, colour: Colour = BLACK) -> bytes:
    """A garment in front of a wall, standing on a floor of another gray."""
    width, height = 400, 300
    grays = np.arange(120, 256, 15) if colour == BLACK else np.arange(30, 166, 15)
    floor, wall = sorted(int(level) for level in rng.choice(grays, 2, replace=False))
    page = Image.new("RGB", (width, height), (wall,) * 3)
    side = round(height * rng.uniform(0.55, 0.8))
    x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
    page.paste((floor,) * 3, (0, round(y + side * rng.uniform(0.5, 0.85)), width, height))
    page.paste(colour, (x, y, x + side, y + side), image.resize((side, side), Resampling.BICUBIC))
    return encode(page, "JPEG", quality=85)


def _side_by_side(image: Image.Image, rng: Generator) -> bytes:
    """The garment twice, side by side, the second sometimes mirrored."""
    side = round(rng.uniform(150, 190))
    gap = round(rng.uniform(0, 30))
    page = Image.new("RGB", (440, 300), WHITE)
    one = image.resize((side, side), Resampling.BICUBIC)
    two = ImageOps.mirror(one) if rng.random() < 0.5 else one
    x, y = (440 - 2 * side - gap) // 2, (300 - side) // 2
    for place, garment in ((x, one), (x + side + gap, two)):
        page.paste(BLACK, (place, y, place + side, y + side), garment)
    return encode(page, "JPEG", quality=85)


def _on_texture(image: Image.Image, rng: Generator, *, wood: bool, colour: Colour = BLACK) -> bytes:
    """A garment on wooden boards or on a rough surface."""
    side = 300
    field = power_law_noise(rng, 512, 1.3)
    grain = stretch(np.asarray(Image.fromarray(field[:60]).resize((side, side), Resampling.BICUBIC)) if wood else field)
    tone = 120 + 110 * grain[:side, :side]
    if wood:
        boards = np.repeat(rng.normal(0, 12, 5), 60)[:, None]
        tone = tone + boards - 60 * (np.arange(side)[:, None] % 60 < 2)
    tint = np.array([1, 0.8, 0.6]) if wood else np.ones(3)
    page = Image.fromarray((tone[..., None] * tint).clip(0, 255).astype(np.uint8))
    garment = round(side * rng.uniform(0.6, 0.85))
    x, y = (int(rng.integers(0, side - garment + 1)) for _ in range(2))
    mask = image.resize((garment, garment), Resampling.BICUBIC)
    page.paste(colour, (x, y, x + garment, y + garment), mask)
    return encode(page, "JPEG", quality=85)


def _plotted(image: Image.Image, rng: Generator, *, cmap: str, axes: bool = True, bar: bool = False) -> bytes:
    """The picture plotted by matplotlib's imshow and saved by savefig."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3) if bar else (3.2, 3.2), dpi=int(rng.integers(60, 111)))
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
    **{f"dark, turned {k}": partial(_rotated_photo, degrees=k) for k in QUARTER_TURNS},
    **{
        f"white, turned {k}": partial(_rotated_photo, degrees=k, background=(40, 40, 40), colour=WHITE)
        for k in (90, 180)
    },
    **{f"28×28, turned {k}": partial(_rotated, degrees=k) for k in QUARTER_TURNS},
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

PLOTTED: dict[str, Recipe] = {
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
    "badge with a rim": partial(_badge, disc=WHITE, colour=BLACK, rim=RED),
    "white on a disc on black": partial(_badge, disc=(90, 40, 120), colour=WHITE, page=BLACK),
    "round photo": _round_photo,
    "wall and floor": _wall_and_floor,
    "wall and floor, white": partial(_wall_and_floor, colour=WHITE),
    "side by side": _side_by_side,
    "on wood": partial(_on_texture, wood=True),
    "on something rough": partial(_on_texture, wood=False),
}
