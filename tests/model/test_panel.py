"""A picture within a picture is found and taken, wherever it is; a garment is none."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support.drawings import OUTLINES, draw
from test_photo import Pictures, garments, off, on_canvas, share_close

from model.preprocess import native, preprocess
from model.preprocess.badge import find_badge
from model.preprocess.panel import find_panel
from model.preprocess.pixel_formats import composite_on_white
from model.preprocess.scene import segment
from model.synthetic.scenes import PADDED
from model.synthetic.uploads import CANVASES, CUT_OUTS, LOSSLESS, OTHERS, STUDIO, make_upload

__all__ = ["garments"]

Colour = tuple[int, int, int]


def framed(picture: Image.Image, *, left: int, top: int, right: int, bottom: int, colour: Colour) -> Image.Image:
    canvas = Image.new("RGB", (left + picture.width + right, top + picture.height + bottom), colour)
    canvas.paste(picture, (left, top))
    return canvas


def plotted(garment: Image.Image) -> Image.Image:
    """As matplotlib's imshow with axes: the margins of a figure, ticks, and numbers beside them."""
    figure = framed(
        garment.resize((280, 280), Image.Resampling.NEAREST), left=50, top=20, right=30, bottom=40, colour=(255,) * 3
    )
    pen = ImageDraw.Draw(figure)
    for i in range(0, 280, 50):
        pen.line((45, 20 + i, 49, 20 + i), fill="black")
        pen.line((50 + i, 300, 50 + i, 304), fill="black")
        pen.text((25, 15 + i), str(i // 10), fill="black")
        pen.text((45 + i, 308), str(i // 10), fill="black")
    return figure


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return Image.open(file)


FRAMES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "six white pixels around it": lambda garment: framed(
        garment, left=6, top=6, right=6, bottom=6, colour=(255, 255, 255)
    ),
    "plotted": plotted,
    "plotted, JPEG": lambda garment: as_jpeg(plotted(garment)),
    "larger, on one side of a light page": lambda garment: framed(
        garment.resize((700, 700), Image.Resampling.NEAREST),
        left=30,
        top=40,
        right=500,
        bottom=60,
        colour=(238, 238, 240),
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_what_is_framed_comes_back(garments: Pictures, name: str) -> None:
    assert sum(off(FRAMES[name](garment), garment) <= 8 for garment in garments) >= 80


def test_a_product_photo_in_a_broad_dark_frame(garments: Pictures) -> None:
    bordered = [
        framed(on_canvas(garment), left=30, top=30, right=30, bottom=30, colour=(20, 20, 20)) for garment in garments
    ]
    assert sum(off(image, garment) <= 16 for image, garment in zip(bordered, garments, strict=True)) >= 80


@pytest.mark.parametrize("recipe", [name for name in PADDED if "screenshot" not in name] + ["gray, colour bar"])
def test_bars_and_colour_bars_are_taken_away(garments: Pictures, recipe: str) -> None:
    assert share_close(garments, lambda garment: opened(recipe, garment)) >= 0.85


@pytest.mark.parametrize("recipe", ["gray, axes", "binary, axes", "binary, colour bar", "gray, no axes"])
def test_axes_are_taken_away(garments: Pictures, recipe: str) -> None:
    assert share_close(garments[::4], lambda garment: opened(recipe, garment)) >= 0.85


@pytest.mark.parametrize(
    "recipe",
    ["white on a blue disc", "black on a light disc", "badge with a rim", "white on a disc on black", "round photo"],
)
def test_badges_are_taken_away(garments: Pictures, recipe: str) -> None:
    assert share_close(garments, lambda garment: opened(recipe, garment)) >= 0.85
    assert sum(preprocess(opened(recipe, garment)).certain for garment in garments) >= 85


def test_bars_lie_outside_the_crop(garments: Pictures) -> None:
    photo = on_canvas(garments[0])
    bordered = framed(photo, left=0, top=80, right=0, bottom=20, colour=(0, 0, 0))
    inner, outer = preprocess(photo).crop, preprocess(bordered).crop
    assert outer == pytest.approx((inner[0], inner[1] + 80, inner[2], inner[3] + 80), abs=3)


@pytest.mark.parametrize("handled", [False, True])
def test_a_round_bag_is_no_badge(handled: bool) -> None:
    canvas = Image.new("L", (400, 400), 255)
    pen = ImageDraw.Draw(canvas)
    pen.circle((200, 220), 140, 60)
    pen.circle((200, 220), 20, 200)
    if handled:
        pen.arc((140, 20, 260, 200), 180, 360, 60, 12)
    assert find_badge(segment(canvas, None)) is None


@pytest.mark.parametrize(("size", "stroke"), [(25, 4), (33, 5), (150, 20), (200, 60)])
def test_a_ring_is_no_badge(size: int, stroke: int) -> None:
    canvas = Image.new("RGB", (2 * size, 2 * size), "white")
    edge = size // 3
    ImageDraw.Draw(canvas).ellipse((edge, edge, edge + size, edge + size), outline=(40, 60, 90), width=stroke)
    assert find_badge(segment(canvas, None)) is None


@pytest.mark.parametrize("rim", [False, True])
def test_a_hole_in_the_garment_makes_the_badge_no_ring(rim: bool) -> None:
    canvas = Image.new("RGB", (400, 400), "white")
    pen = ImageDraw.Draw(canvas)
    pen.ellipse((50, 50, 350, 350), fill=(40, 60, 190))
    if rim:
        pen.ellipse((60, 60, 340, 340), fill="white")
    pen.polygon([(150, 120), (250, 120), (240, 290), (160, 290)], fill=(200, 190, 60))
    pen.point([(199, 199), (200, 199), (199, 200), (200, 200)], fill="white")
    assert find_badge(segment(canvas, None)) is not None


def test_a_tight_garment_has_no_bars(garments: Pictures) -> None:
    """Trimmed on some sides, with room on others."""
    for i, garment in enumerate(garments):
        large = garment.resize((224, 224), Image.Resampling.BICUBIC)
        cut = large.crop(large.point(lambda level: 255 if level > 16 else 0).getbbox())
        room = [30 * (i >> side & 1) for side in range(4)]
        canvas = Image.new("L", (cut.width + room[0] + room[2], cut.height + room[1] + room[3]), 255)
        canvas.paste(40, (room[0], room[1], room[0] + cut.width, room[1] + cut.height), cut)
        assert find_panel(segment(canvas, None)) is None, i


def opened(recipe: str, garment: Image.Image) -> Image.Image:
    return Image.open(io.BytesIO(make_upload(recipe, np.asarray(garment), int(np.asarray(garment).sum()))))


def test_the_crop_is_in_the_whole_pictures_pixels(garments: Pictures) -> None:
    result = preprocess(FRAMES["six white pixels around it"](garments[0]))
    assert (result.mode, result.crop, result.certain) == ("native", (6, 6, 34, 34), True)
    assert (result.pixels == native(garments[0])).all()


def test_a_garment_is_no_frame(garments: Pictures) -> None:
    recipes = [name for group in (LOSSLESS, CANVASES, CUT_OUTS, STUDIO, OTHERS) for name in group]
    for i, name in enumerate(3 * recipes):
        picture = Image.open(io.BytesIO(make_upload(name, np.asarray(garments[i % 100]), i)))
        assert find_panel(segment(*composite_on_white(picture))) is None, (name, i)
    for name in OUTLINES:
        for style in ("flat", "outline", "bold outline"):
            assert find_panel(segment(*composite_on_white(draw(name, style)))) is None, (name, style)


@pytest.mark.parametrize("emblem", [(180, 180, 220, 220), (50, 100, 350, 120), (100, 100, 300, 300)])
def test_a_square_bag_is_no_frame(emblem: tuple[int, int, int, int]) -> None:
    canvas = Image.new("L", (400, 400), 255)
    canvas.paste(40, (50, 50, 350, 350))
    canvas.paste(220, emblem)
    assert find_panel(segment(canvas, None)) is None
