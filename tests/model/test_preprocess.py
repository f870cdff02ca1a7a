"""`native` is Pillow's own conversion and resizing, for every mode, orientation and depth."""

import io

import numpy as np
import pytest
from PIL import Image

from model.preprocess import SIZE, native, preprocess

RAMP = np.linspace(0, 255, 40 * 60).reshape(40, 60).astype(np.uint8)


def reference(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "CMYK", "YCbCr"])
def test_native_is_pillows_own(mode: str) -> None:
    rgb = Image.merge(
        "RGB", [Image.fromarray(RAMP), Image.fromarray(RAMP.T.copy()).resize((60, 40)), Image.fromarray(255 - RAMP)]
    )
    image = rgb.convert(mode)
    assert np.array_equal(native(image), reference(image))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(RAMP.astype(np.uint16) * 257), RAMP),
        (Image.fromarray(RAMP.astype(np.int32) * 257), RAMP),
        (Image.fromarray(RAMP.astype(np.int32) << 23), RAMP),
        (Image.fromarray(RAMP.astype(np.uint16) << 2), RAMP),
        (Image.fromarray(RAMP.astype(np.uint16) << 4), RAMP),
        (Image.fromarray(RAMP.astype(np.int32) << 6), RAMP),
        (Image.fromarray(RAMP.astype(np.int32)), RAMP),
        (Image.fromarray((RAMP / 255).astype(np.float32)), RAMP),
        (Image.fromarray((1.05 * RAMP / 255).astype(np.float32)), (1.05 * RAMP).clip(0, 255).astype(np.uint8)),
        (Image.fromarray(RAMP.astype(np.float32)), RAMP),
        (Image.fromarray(RAMP.astype(np.float32) * 257), RAMP),
        (Image.fromarray(RAMP.astype(np.float32) * 2**23), RAMP),
    ],
)
def test_deep_samples_are_scaled_not_cut_off(image: Image.Image, expected: np.ndarray) -> None:
    """From 16, 10, 12, 14 and 8 bits, and from floats up to 1, a little more, 255, 65535 and 2³¹."""
    assert np.abs(native(image).astype(int) - reference(Image.fromarray(expected))).max() <= 1


@pytest.mark.parametrize("value", [np.inf, 3.4e38])
def test_what_is_no_sample_does_not_darken_the_others(value: float) -> None:
    samples, expected = (RAMP / 255).astype(np.float32), RAMP.copy()
    samples[-1], expected[-1] = value, 255
    assert np.array_equal(native(Image.fromarray(samples)), reference(Image.fromarray(expected)))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_white_of_12_bits_is_a_light_background(dtype: type) -> None:
    samples = np.full((60, 40), 4095, dtype)
    samples[10:50, 10:30] = 700
    deep, ordinary = (preprocess(Image.fromarray(array)) for array in (samples, (samples / 16).astype(np.uint8)))
    assert deep.inverted
    assert np.abs(deep.pixels.astype(int) - ordinary.pixels).max() <= 1


def test_not_a_number_is_black() -> None:
    assert native(Image.fromarray(np.full((5, 5), np.nan, np.float32))).max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA"])
def test_transparent_is_white(mode: str) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 10, 20))
    pixels = native(image.convert(mode))
    assert pixels[:, 5].max() == 0
    assert pixels[:, 90].min() == 255


def test_transparent_palette_colour_is_white() -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 0, 9, 9, 9])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0)
    assert native(Image.open(file)).min() == 255


def test_transparent_16_bit_level_is_white() -> None:
    samples = np.zeros((20, 20), np.uint16)
    samples[:, :10] = 40_000
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "PNG", transparency=0)
    with Image.open(file) as image:
        pixels = native(image)
    assert pixels[:, 90].min() == 255
    assert abs(int(pixels[0, 5]) - 156) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    picture = Image.fromarray(RAMP)
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    stored = picture.transpose(turn) if turn is not None else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    result = preprocess(Image.open(file), mode="native")
    assert np.array_equal(result.pixels, reference(picture))
    assert result.crop == (0, 0, 60, 40)
