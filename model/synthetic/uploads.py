"""Makes realistic uploads from data-set pictures: uint8 [28,28] → the bytes of a file, by named recipes.

Random choices, such as place and size, come from a generator seeded by the recipe's name and the picture's number, so
every run makes the same files.
"""

import zlib
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFilter, ImageOps
from PIL.Image import Resampling

from model.synthetic.canvas import BLACK, BLUE, GRAY, RED, WHITE, Recipe, encode, place_on_canvas
from model.synthetic.corruptions import CORRUPTED
from model.synthetic.scenes import ARRANGED, PADDED, PLOTTED, TURNED


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
    "off-white 400×300": partial(_product_photo, size=(400, 300), background=(245, 245, 245)),
    "light gray 400×300": partial(_product_photo, size=(400, 300), background=GRAY),
    "beige 400×300": partial(_product_photo, size=(400, 300), background=(236, 226, 208)),
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
    "yellow on white": partial(_product_photo, size=(400, 300), colour=(220, 180, 40)),
    "light on black": partial(_product_photo, size=(400, 300), background=BLACK, colour=WHITE),
    "light on dark gray": partial(_product_photo, size=(400, 300), background=(48, 48, 48), colour=WHITE),
    "light on navy": partial(_product_photo, size=(400, 300), background=(16, 24, 60), colour=WHITE),
    "dark on mid-gray": partial(_product_photo, size=(400, 300), background=(128, 128, 128)),
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
