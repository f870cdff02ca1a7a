"""Makes realistic uploads from data-set pictures: uint8 [28,28] → the bytes of a file, by named recipes.

Random choices, such as place and size, come from a generator seeded by the recipe's name and the picture's number, so
every run makes the same files. The corruptions are the families of Fashion-MNIST-C (Weiss and Tonella 2022) at three
strengths.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageEnhance, ImageFilter, ImageOps
from PIL.Image import Resampling

from model.synthetic.canvas import (
    BEIGE,
    BLACK,
    BLUE,
    GRAY,
    OFF_WHITE,
    RED,
    WHITE,
    YELLOW,
    Recipe,
    encode,
    place_on_canvas,
)
from model.synthetic.scenes import ARRANGED, PADDED, PLOTTED, TURNED

Corruption = Callable[[Image.Image, Generator], Image.Image]


def make_upload(recipe: str, picture: NDArray[np.uint8], number: int) -> bytes:
    """The file that the recipe makes of a picture, uint8 [28,28]; `number` is the picture's index in the data set."""
    return RECIPES[recipe](Image.fromarray(picture), np.random.default_rng([number, zlib.crc32(recipe.encode())]))


def _unchanged(image: Image.Image, rng: Generator, *, format: str = "PNG", mode: str = "L", **options: Any) -> bytes:
    return encode(image.convert(mode), format, **options)


def _high_bit_depth(image: Image.Image, rng: Generator, *, format: str = "PNG", dtype: str = "uint16") -> bytes:
    samples = np.asarray(image).astype(dtype) * 257 if dtype == "uint16" else np.asarray(image).astype(dtype) / 255
    return encode(Image.fromarray(samples.astype(dtype)), format)


def _enlarged(image: Image.Image, rng: Generator, *, times: int, filter: Resampling) -> bytes:
    return encode(image.resize((28 * times, 28 * times), filter), "PNG")


def _negated(image: Image.Image, rng: Generator, *, times: int = 1) -> bytes:
    return encode(ImageOps.invert(image).resize((28 * times, 28 * times), Resampling.BICUBIC), "PNG")


def _store_rotated(image: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """The picture as a camera stores it with that EXIF orientation, and the EXIF data."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return image.transpose(Image.Transpose(undo)), exif


def _exif(image: Image.Image, rng: Generator, *, orientation: int) -> bytes:
    stored, exif = _store_rotated(image, orientation)
    return encode(stored, "PNG", exif=exif)


def _product_photo(
    image: Image.Image,
    rng: Generator,
    *,
    format: str = "PNG",
    mode: str = "RGB",
    options: dict[str, Any] | None = None,
    **canvas_options: Any,
) -> bytes:
    return encode(place_on_canvas(image, rng, **canvas_options).convert(mode), format, **(options or {}))


def _phone_photo(image: Image.Image, rng: Generator, *, orientation: int) -> bytes:
    stored, exif = _store_rotated(place_on_canvas(image, rng, size=(300, 400)), orientation)
    return encode(stored, "JPEG", quality=85, exif=exif)


def _cut_out(image: Image.Image, rng: Generator, *, format: str = "PNG", mode: str = "RGBA", side: int = 280) -> bytes:
    """The garment on a transparent background; black pixels of the data set are transparent."""
    gray = ImageOps.invert(image).resize((side, side), Resampling.BICUBIC)
    alpha = image.point(lambda v: 255 if v else 0).resize((side, side), Resampling.BICUBIC)
    cut = Image.merge("LA", [gray, alpha])
    page = Image.new("LA", (round(side * 1.5), round(side * 1.2)), (0, 0))
    room = (page.width - side + 1, page.height - side + 1)
    page.paste(cut, (int(rng.integers(room[0])), int(rng.integers(room[1]))))
    return encode(page.convert("RGBA").convert(mode), format)


def _studio_photo(image: Image.Image, rng: Generator, *, vignette: float, noise: float, shadow: float = 0) -> bytes:
    """A product photo with a vignette, sensor noise, and a soft shadow under the garment."""
    size = (400, 300)
    page = np.asarray(place_on_canvas(image, rng, size=size, share=(0.6, 0.9)), np.float32)
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    light = 1 - vignette * (x**2 + y**2)[..., None] / 2
    if shadow:
        dark = Image.fromarray((255 - page[..., 0]).astype(np.uint8)).filter(ImageFilter.GaussianBlur(8))
        light = light * (1 - shadow * np.roll(np.asarray(dark), (8, 6), (0, 1))[..., None] / 255)
    seen = page * light + rng.normal(0, noise, page.shape)
    return encode(Image.fromarray(seen.clip(0, 255).astype(np.uint8)), "JPEG", quality=85)


def _blemished(image: Image.Image, rng: Generator, *, specks: int = 0, frame: int = 0) -> bytes:
    page = np.array(place_on_canvas(image, rng, size=(400, 300)))
    for _ in range(specks):
        y, x = rng.integers(300), rng.integers(400)
        page[y : y + 3, x : x + 3] = rng.integers(0, 120)
    if frame:
        page[:frame] = page[-frame:] = page[:, :frame] = page[:, -frame:] = 30
    return encode(Image.fromarray(page), "PNG")


def _corrupted(image: Image.Image, rng: Generator, *, change: Corruption) -> bytes:
    return encode(change(image, rng), "PNG")


def _affine(image: Image.Image, matrix: tuple[float, float, float, float]) -> Image.Image:
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


def _sheared(image: Image.Image, rng: Generator, *, by: float) -> Image.Image:
    return _affine(image, (1, by, 0, 1))


def _shrunk(image: Image.Image, rng: Generator, *, to: float) -> Image.Image:
    return _affine(image, (1 / to, 0, 0, 1 / to))


def _rotated(image: Image.Image, rng: Generator, *, degrees: float) -> Image.Image:
    return image.rotate(degrees, Resampling.BICUBIC)


def _brightened(image: Image.Image, rng: Generator, *, by: int) -> Image.Image:
    return image.point([min(255, v + by) for v in range(256)])


def _lower_contrast(image: Image.Image, rng: Generator, *, to: float) -> Image.Image:
    return image.point([round(128 + to * (v - 128)) for v in range(256)])


CORRUPTIONS: dict[str, list[Corruption]] = {
    "noise": [partial(_noisy, sd=sd) for sd in (10, 25, 45)],
    "blur": [partial(_blurred, radius=radius) for radius in (0.5, 1, 1.5)],
    "shear": [partial(_sheared, by=by) for by in (0.1, 0.2, 0.35)],
    "scale": [partial(_shrunk, to=to) for to in (0.9, 0.75, 0.6)],
    "rotation": [partial(_rotated, degrees=degrees) for degrees in (5, 12, 25)],
    "brightness": [partial(_brightened, by=by) for by in (25, 60, 100)],
    "contrast": [partial(_lower_contrast, to=to) for to in (0.75, 0.5, 0.3)],
    "saturation": [partial(_saturated, amount=amount) for amount in (0.5, 2, 4)],
}
"""By family, at three strengths. The family "inverse" is `negated` in LOSSLESS."""

LOSSLESS: dict[str, Recipe] = {
    "PNG": _unchanged,
    "BMP": partial(_unchanged, format="BMP"),
    "GIF": partial(_unchanged, format="GIF"),
    "TIFF": partial(_unchanged, format="TIFF"),
    "WebP lossless": partial(_unchanged, format="WEBP", lossless=True),
    "RGB": partial(_unchanged, mode="RGB"),
    "palette": partial(_unchanged, mode="P"),
    "CMYK TIFF": partial(_unchanged, format="TIFF", mode="CMYK"),
    "gray and alpha": partial(_unchanged, mode="LA"),
    "16-bit PNG": _high_bit_depth,
    "16-bit TIFF": partial(_high_bit_depth, format="TIFF"),
    "float TIFF": partial(_high_bit_depth, format="TIFF", dtype="float32"),
    **{f"EXIF {k}": partial(_exif, orientation=k) for k in range(2, 9)},
    "×4 nearest": partial(_enlarged, times=4, filter=Resampling.NEAREST),
    "×4 bicubic": partial(_enlarged, times=4, filter=Resampling.BICUBIC),
    "×10 bilinear": partial(_enlarged, times=10, filter=Resampling.BILINEAR),
    "×10 nearest": partial(_enlarged, times=10, filter=Resampling.NEAREST),
    "×10 Lanczos": partial(_enlarged, times=10, filter=Resampling.LANCZOS),
    "negated": _negated,
    "negated ×4": partial(_negated, times=4),
    "negated ×10": partial(_negated, times=10),
}

CANVASES: dict[str, Recipe] = {
    "white 800×600": partial(_product_photo, size=(800, 600)),
    "white 300×400": partial(_product_photo, size=(300, 400)),
    "white 256×256": partial(_product_photo, size=(256, 256), share=(0.8, 1.0)),
    "white 900×200": partial(_product_photo, size=(900, 200)),
    "white 150×700": partial(_product_photo, size=(150, 700)),
    "white, small": partial(_product_photo, size=(640, 480), share=(0.12, 0.3)),
    "off-white 400×300": partial(_product_photo, size=(400, 300), background=OFF_WHITE),
    "light gray 400×300": partial(_product_photo, size=(400, 300), background=GRAY),
    "beige 400×300": partial(_product_photo, size=(400, 300), background=BEIGE),
    **{
        f"JPEG {q}": partial(_product_photo, format="JPEG", size=(400, 300), options={"quality": q})
        for q in (95, 85, 75)
    },
    "WebP 80": partial(_product_photo, size=(400, 300), format="WEBP", options={"quality": 80, "method": 0}),
    "GIF, white": partial(_product_photo, size=(400, 300), format="GIF", mode="P"),
    "TIFF, white": partial(_product_photo, size=(400, 300), format="TIFF"),
    "BMP, white": partial(_product_photo, size=(400, 300), format="BMP"),
    "CMYK JPEG": partial(_product_photo, format="JPEG", size=(400, 300), mode="CMYK", options={"quality": 85}),
    **{f"phone, EXIF {k}": partial(_phone_photo, orientation=k) for k in range(2, 9)},
}

CUT_OUTS: dict[str, Recipe] = {
    "cut-out RGBA": _cut_out,
    "cut-out gray": partial(_cut_out, mode="LA"),
    "cut-out WebP": partial(_cut_out, format="WEBP"),
    "cut-out 28 px": partial(_cut_out, side=28),
}

STUDIO: dict[str, Recipe] = {
    "studio": partial(_studio_photo, vignette=0.25, noise=4),
    "studio, noisier": partial(_studio_photo, vignette=0.4, noise=10),
    "studio, shadow": partial(_studio_photo, vignette=0.1, noise=2, shadow=0.25),
}

OTHERS: dict[str, Recipe] = {
    **{f"JPEG {q}": partial(_product_photo, format="JPEG", size=(400, 300), options={"quality": q}) for q in (50, 25)},
    "specks": partial(_blemished, specks=12),
    "frame": partial(_blemished, frame=2),
    "blue on white": partial(_product_photo, size=(400, 300), colour=BLUE),
    "red on white": partial(_product_photo, size=(400, 300), colour=RED),
    "yellow on white": partial(_product_photo, size=(400, 300), colour=YELLOW),
    "light on black": partial(_product_photo, size=(400, 300), background=BLACK, colour=WHITE),
    "light on dark gray": partial(_product_photo, size=(400, 300), background=(48, 48, 48), colour=WHITE),
    "light on navy": partial(_product_photo, size=(400, 300), background=(16, 24, 60), colour=WHITE),
    "dark on mid-gray": partial(_product_photo, size=(400, 300), background=(128, 128, 128)),
}

CORRUPTED: dict[str, Recipe] = {
    f"{family} {strength}": partial(_corrupted, change=change)
    for family, changes in CORRUPTIONS.items()
    for strength, change in enumerate(changes, 1)
}

GROUPS: dict[str, tuple[float | None, dict[str, Recipe]]] = {
    "lossless": (0.5, LOSSLESS),
    "product photos": (1.5, CANVASES),
    "cut-outs": (2.0, CUT_OUTS),
    "studio": (3.0, STUDIO),
    "worse and other": (None, OTHERS),
    "Fashion-MNIST-C": (None, CORRUPTED),
    "turned": (None, TURNED),
    "padded": (None, PADDED),
    "figures": (None, PLOTTED),
    "arranged": (None, ARRANGED),
}
"""Recipes by group, with the percentage points of accuracy that mode `auto` may lose; None is unbounded."""

RECIPES: dict[str, Recipe] = {name: recipe for _, recipes in GROUPS.values() for name, recipe in recipes.items()}
