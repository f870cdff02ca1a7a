"""`photo` gives back what the data set would have made of a picture; `auto` leaves the data set's own alone."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.drawings import OUTLINES, draw

from model.data import Dataset
from model.preprocess import BackgroundOption, Mode, native, preprocess
from model.synthetic.uploads import RECIPES, make_upload

Pictures = list[Image.Image]


@pytest.fixture(scope="module")
def garments(pictures: list[tuple[str, bytes]]) -> Pictures:
    """A hundred, light on black, 28×28."""
    return [Image.open(io.BytesIO(content)).convert("L") for _, content in pictures]


def on_canvas(
    garment: Image.Image,
    *,
    size: tuple[int, int] = (400, 300),
    at: tuple[int, int] = (150, 30),
    side: int = 224,
    background: int = 255,
) -> Image.Image:
    """Dark, off-centre, in front of something light: a product photo."""
    canvas = Image.new("L", size, background)
    canvas.paste(0, (*at, at[0] + side, at[1] + side), garment.resize((side, side), Image.Resampling.BICUBIC))
    return canvas


def off(image: Image.Image, garment: Image.Image, mode: Mode = "auto", background: BackgroundOption = "auto") -> float:
    """Gray levels, on average, between what becomes of a picture and the data set's own."""
    difference = preprocess(image, mode, background).pixels.astype(int) - native(garment)
    return float(np.abs(difference).mean())


def share_close(garments: Pictures, change: Callable[[Image.Image], Image.Image], within: float = 16) -> float:
    return float(np.mean([off(change(garment), garment) <= within for garment in garments]))


def test_every_picture_of_the_data_set_is_native(fashion_mnist: Dataset) -> None:
    for split in (fashion_mnist.validation[:1000], fashion_mnist.test[:1000]):
        for pixels in split.pixels.numpy():
            picture = Image.fromarray(pixels)
            result = preprocess(picture)
            assert (result.mode, result.inverted, result.crop, result.certain) == (
                "native",
                False,
                (0, 0, 28, 28),
                True,
            )
            assert np.array_equal(result.pixels, native(picture))


@pytest.mark.parametrize("filter", [Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS])
@pytest.mark.parametrize("times", [3, 4, 10])
def test_an_enlarged_picture_of_the_data_set_comes_back(
    garments: Pictures, times: int, filter: Image.Resampling
) -> None:
    results = [preprocess(garment.resize((28 * times, 28 * times), filter)) for garment in garments]
    assert not any(result.inverted for result in results)
    assert sum(result.mode == ("native" if times == 3 else "photo") for result in results) >= 95
    assert share_close(garments, lambda garment: garment.resize((28 * times, 28 * times), filter), within=8) >= 0.9


def test_a_negated_picture_comes_back_exactly(garments: Pictures) -> None:
    exact = 0
    for garment in garments:
        result = preprocess(ImageOps.invert(garment))
        assert result.mode == "photo"
        assert result.inverted
        exact += off(ImageOps.invert(garment), garment) <= 0.5
    assert exact >= 85


def test_a_photo_comes_back(garments: Pictures) -> None:
    assert share_close(garments, on_canvas, within=12) >= 0.8


@pytest.mark.parametrize("background", [245, 222, 200])
def test_from_off_white_to_light_gray(garments: Pictures, background: int) -> None:
    assert share_close(garments, lambda garment: on_canvas(garment, background=background)) >= 0.9


def test_what_is_reported(garments: Pictures) -> None:
    for garment in garments[::10]:
        result = preprocess(on_canvas(garment))
        assert (result.mode, result.inverted, result.certain) == ("photo", True, True)
        left, top, right, bottom = garment.point(lambda level: 255 if level > 16 else 0).getbbox() or (0, 0, 28, 28)
        expected = np.array([150 + 8 * left, 30 + 8 * top, 150 + 8 * right, 30 + 8 * bottom])
        assert np.abs(np.array(result.crop) - expected).max() <= 8, "within a pixel of the data set's"


def test_light_on_black_is_not_inverted(garments: Pictures) -> None:
    for garment in garments[::10]:
        canvas = Image.new("L", (400, 300))
        canvas.paste(garment.resize((224, 224), Image.Resampling.BICUBIC), (20, 40))
        result = preprocess(canvas)
        assert (result.mode, result.inverted, result.certain) == ("photo", False, True)
        assert off(canvas, garment) <= 20


def test_mid_gray_is_not_certain_and_can_be_told(garments: Pictures) -> None:
    canvas = on_canvas(garments[0], background=128)
    assert not preprocess(canvas).certain
    assert preprocess(canvas).inverted, "the garment is darker than what is behind it"
    for background, inverted in (("light", True), ("dark", False)):
        result = preprocess(canvas, background=background)  # type: ignore[arg-type]
        assert (result.inverted, result.certain) == (inverted, True)


@pytest.mark.parametrize(("border", "told"), [(255, "dark"), (0, "light")])
def test_told_otherwise_than_it_looks_light_and_dark_are_as_told(
    garments: Pictures, border: int, told: BackgroundOption
) -> None:
    """Nothing is trimmed, for what was taken for the background is none; and that it was doubtful is said."""
    canvas = Image.new("L", (400, 300), border)
    canvas.paste(128, (150, 100, 250, 200))
    result = preprocess(canvas, background=told)
    assert (result.mode, result.inverted, result.certain) == ("photo", told == "light", False)
    assert result.crop == (0, 0, 400, 300)
    assert result.pixels[48, 5] == 255
    assert 120 < result.pixels[48, 48] < 136


def test_told_light_no_picture_is_native(garments: Pictures) -> None:
    result = preprocess(garments[0], background="light")
    assert (result.mode, result.inverted) == ("photo", True)
    assert preprocess(garments[0], background="dark").mode == "native"
    assert preprocess(garments[0], mode="photo").mode == "photo"
    assert preprocess(on_canvas(garments[0]), mode="native", background="light").mode == "native"


def test_two_colours_behind_are_not_certain(garments: Pictures) -> None:
    canvas = on_canvas(garments[0])
    canvas.paste(90, (0, 150, 400, 300))
    assert not preprocess(canvas).certain


def test_noise_all_over_is_not_certain() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400), np.uint8)
    assert not preprocess(Image.fromarray(noise)).certain


def test_specks_and_a_frame_are_not_the_garment(garments: Pictures) -> None:
    def blemish(garment: Image.Image) -> Image.Image:
        pixels = np.array(on_canvas(garment))
        pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:] = 30, 30, 30, 30
        for y, x in ((20, 20), (280, 30), (250, 120), (10, 390)):
            pixels[y : y + 3, x : x + 3] = 60
        return Image.fromarray(pixels)

    assert share_close(garments, blemish) >= 0.9


def test_a_vignette_is_followed(garments: Pictures) -> None:
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    light = 1 - 0.15 * (x**2 + y**2)

    def darken(garment: Image.Image) -> Image.Image:
        return Image.fromarray((np.asarray(on_canvas(garment)) * light).astype(np.uint8))

    assert share_close(garments, darken, within=20) >= 0.9


def test_jpeg_noise_is_nothing(garments: Pictures) -> None:
    def compress(garment: Image.Image) -> Image.Image:
        file = io.BytesIO()
        on_canvas(garment).save(file, "JPEG", quality=75)
        return Image.open(file)

    assert share_close(garments, compress) >= 0.9


@pytest.mark.parametrize("size", [(1600, 250), (250, 1600)])
def test_panoramas(garments: Pictures, size: tuple[int, int]) -> None:
    assert share_close(garments[::4], lambda garment: on_canvas(garment, size=size, at=(10, 10))) >= 0.9


def test_a_garment_that_touches_the_border(garments: Pictures) -> None:
    results = [preprocess(on_canvas(garment, size=(300, 280), at=(0, 28), side=252)) for garment in garments]
    assert all(result.inverted for result in results)
    cut = share_close(garments, lambda garment: on_canvas(garment, size=(300, 280), at=(0, 28), side=252), within=20)
    assert cut >= 0.85


def test_a_cut_out_is_trimmed_by_its_transparency(garments: Pictures) -> None:
    def cut(garment: Image.Image) -> Image.Image:
        gray, alpha = ImageOps.invert(garment), garment.point(lambda level: 255 if level else 0)
        cut = Image.merge("LA", [gray, alpha]).resize((224, 224), Image.Resampling.BICUBIC)
        canvas = Image.new("LA", (400, 300))
        canvas.paste(cut, (30, 50))
        return canvas

    assert share_close(garments, cut) >= 0.9


def test_white_on_transparency_is_a_silhouette() -> None:
    for name in OUTLINES:
        white, black = preprocess(draw(name, "white on transparent")), preprocess(draw(name, "flat"))
        assert white.pixels.max() > 100
        lit = (white.pixels > 64) == (black.pixels > 64)
        assert lit.mean() > 0.9, name


@pytest.mark.parametrize("style", ["thin outline", "outline", "bold outline", "outline, transparent"])
def test_an_outline_is_filled(style: str) -> None:
    for name in OUTLINES:
        outlined, flat = preprocess(draw(name, style)), preprocess(draw(name, "flat"))
        lit = (outlined.pixels > 64) == (flat.pixels > 64)
        assert lit.mean() > 0.85, name


def drawing(*boxes: tuple[int, int, int, int]) -> Image.Image:
    """A black square on white, with white boxes in it."""
    canvas = Image.new("L", (400, 400), 255)
    for level, box in ((0, (50, 50, 350, 350)), *((255, box) for box in boxes)):
        canvas.paste(level, box)
    return canvas


def test_what_bold_lines_enclose_is_cloth_and_slits_are_seams() -> None:
    for boxes, light in (([(100, 100, 300, 300)], 0.9), ([(170, 80, 230, 320)], 0.3), ([(190, 190, 210, 210)], 0)):
        middle = preprocess(drawing(*boxes)).pixels[48, 48] / 255
        assert middle == pytest.approx(light, abs=0.08), boxes


@pytest.mark.parametrize("recipe", ["white 800×600", "JPEG 75", "cut-out RGBA", "studio", "light on black", "specks"])
def test_a_photo_is_no_drawing(garments: Pictures, recipe: str) -> None:
    """Dark parts stay dark: a garment taken for a drawing would be filled, by 65 gray levels and more on average."""
    for i, garment in enumerate(garments[::4]):
        photo = Image.open(io.BytesIO(make_upload(recipe, np.asarray(garment), i)))
        off = preprocess(photo).pixels.astype(float) - preprocess(garment, "native").pixels
        assert abs(off).mean() < 40, i


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 500), (28, 28), (300, 200)])
@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "F"])
def test_nothing_to_see(size: tuple[int, int], level: int, mode: str) -> None:
    image = Image.new("L", size, level).convert(mode)
    for way in ("auto", "photo"):
        result = preprocess(image, way)  # type: ignore[arg-type]
        assert result.crop == (0, 0, *size)
        assert not result.certain


def test_remakings_are_the_same_every_time(garments: Pictures) -> None:
    picture = np.asarray(garments[0])
    for recipe in RECIPES:
        once = make_upload(recipe, picture, 7)
        assert once == make_upload(recipe, picture, 7)
        with Image.open(io.BytesIO(once)) as image:
            image.load()
