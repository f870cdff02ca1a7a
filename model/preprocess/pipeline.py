"""Any picture → uint8 [96,96], the one definition for training, evaluation and serving.

`native` is the picture upright, alpha over white, gray, stretched to 96×96: what fits pictures that
already look like the data set, a light garment on black, cropped tight.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from model.preprocess.badge import badge
from model.preprocess.panel import panel
from model.preprocess.photo import Scene, look, photo
from model.preprocess.silhouette import Box

VERSION = 2
"""Changes with what comes out of pictures such as a network is trained on; a checkpoint made for another version is
refused."""

SIZE = 96
"""Height and width of what the network sees, in pixels."""

SMALL = 32
"""Pixels a side: pictures up to this size are told from photos by their border alone."""

BLACK = 24
"""Gray levels up to which a border is black."""

FILLED = 0.75
"""Of its longer side, what a garment in the data set fills at least (26 of 28 pixels among 60,000)."""

NESTED = 3
"""Pictures within one another, at most: a badge with a rim on a page between bars."""

STRIP = 500_000
"""Pixels of a large picture that are converted at a time: memory stays bounded by what the picture itself takes."""

Pixels = NDArray[np.uint8]
Rotation = Literal["auto", "0"]
"""Whether a picture that looks strange may be turned by quarters."""
Mode = Literal["auto", "native", "photo"]
Ground = Literal["auto", "light", "dark"]
"""What is behind the garment."""


@dataclass(frozen=True)
class Preprocessed:
    """The 96×96 picture and what was done to get it."""

    pixels: Pixels
    """uint8 [96,96]."""
    mode: str
    inverted: bool
    crop: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the upright picture."""
    certain: bool
    rotation: int = 0
    """Degrees by which the picture was turned afterwards, counter-clockwise."""

    def turned(self, degrees: int) -> "Preprocessed":
        """The same with its pixels turned by quarters counter-clockwise."""
        pixels = np.ascontiguousarray(np.rot90(self.pixels, degrees // 90))
        return replace(self, pixels=pixels, rotation=degrees)


def preprocess(image: Image.Image, mode: Mode = "auto", background: Ground = "auto") -> Preprocessed:
    """Brings any picture to what the network was trained on.

    `auto` is `native` for pictures that look like the data set's own, `photo` for all others. `background` is what
    `photo` then takes for granted; of a light one no picture looks like the data set. Where the border
    contradicts it, the picture stays whole and is negated as it says. Of a picture that shows another, as a plotted
    figure does, the other is taken.
    Raises ValueError for a colour mode that has no meaning in gray.
    """
    image = upright(image)
    divided = is_divided(image)
    if mode == "native":
        result = _natively(image, native(image))
    else:
        result = _looked_at(stretched(image) if divided else image, mode, background, NESTED)
    return replace(result, certain=False) if divided else result


def is_divided(image: Image.Image) -> bool:
    """Whether all of 8 bits is 0 or 1: an array that was divided by 255 before it was saved, or a mask."""
    if image.mode not in ("L", "RGB", "LA", "RGBA"):
        return False
    if max(image.size) > SMALL and _peak(image.resize((4, 4), Image.Resampling.NEAREST)) > 1:
        return False
    return _peak(image) == 1


def _peak(image: Image.Image) -> int:
    """The highest value but alpha's."""
    if image.mode == "L":
        return image.getextrema()[1]  # type: ignore[return-value]
    return max(highest for _, highest in image.getextrema()[: 1 if image.mode == "LA" else 3])  # type: ignore[misc]


def stretched(image: Image.Image) -> Image.Image:
    """0 or 1 → 0 or 255, as far as the array's whole numbers have left anything."""
    return image.point(([0] + [255] * 255) * len(image.getbands()))


def _looked_at(image: Image.Image, mode: Mode, background: Ground, nested: int) -> Preprocessed:
    if mode == "auto" and background != "light" and max(image.size) <= SMALL:
        level = gray(image)
        enlarged = _enlarged(level)
        if looks_native(level, enlarged):
            return _natively(image, enlarged)
    scene = look(*on_white(image))
    if nested and (shown := _shown(scene)):
        box, within = shown
        result = _looked_at(within, mode, background, nested - 1)
        left, top, right, bottom = result.crop
        return replace(result, crop=(box[0] + left, box[1] + top, box[0] + right, box[1] + bottom))
    if mode == "auto" and background != "light" and max(image.size) > SMALL and scene.looks_native:
        return _natively(image, native(image))
    made = photo(scene, background)
    return Preprocessed(_enlarged(made.pixels), "photo", made.inverted, made.crop, made.certain)


def _shown(scene: Scene) -> tuple[Box, Image.Image] | None:
    """The picture that this one shows, and where it is."""
    box = panel(scene)
    return badge(scene) if box is None else (box, scene.image.crop(box))


def native(image: Image.Image) -> Pixels:
    """`convert("L")` and `resize((96, 96), BILINEAR)`, alpha over white → uint8 [96,96]."""
    return _enlarged(gray(image))


def _natively(image: Image.Image, pixels: Pixels) -> Preprocessed:
    return Preprocessed(pixels, mode="native", inverted=False, crop=(0, 0, *image.size), certain=True)


def _enlarged(level: Image.Image) -> Pixels:
    pixels = level.resize((SIZE, SIZE), Image.Resampling.BILINEAR).tobytes()
    return np.frombuffer(pixels, np.uint8).reshape(SIZE, SIZE)


def looks_native(level: Image.Image, enlarged: Pixels) -> bool:
    """Whether a small gray picture is one of the data set's: square, filled, its border dark or of no one colour.

    The border is read from the enlarged picture, uint8 [96,96], which is at hand, and in plain bytes, because numpy
    takes longer on so few.
    """
    width, height = level.size
    box = level.getbbox()
    if box is None or not 0.9 <= width / height <= 1.1:
        return False
    border = enlarged[0].tobytes() + enlarged[-1].tobytes() + enlarged[:, 0].tobytes() + enlarged[:, -1].tobytes()
    median = 0 if 2 * border.count(0) > len(border) else sorted(border)[len(border) // 2]
    if median > BLACK:
        alike = sum(abs(value - median) <= BLACK // 2 for value in border)
        return median < 128 and alike < len(border) // 2
    return max(box[2] - box[0], box[3] - box[1]) >= FILLED * max(width, height)


def upright(image: Image.Image) -> Image.Image:
    """Turned and mirrored as its EXIF orientation says."""
    image.load()  # a PNG may have its EXIF data behind the pixels
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def on_white(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Any mode → L or RGB, 8 bits, composited on white, and the alpha channel if there is one."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image, None
    if image.mode == "1" or image.mode == "F" or image.mode.startswith("I"):
        return gray(image), None
    if image.has_transparency_data:
        return _composited(image)
    return image.convert("RGB"), None


def gray(image: Image.Image) -> Image.Image:
    """Any mode → mode L, 8 bits, alpha over white, deeper samples scaled rather than cut off."""
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _eight_bits(image)
    if image.has_transparency_data:
        return _composited(image)[0].convert("L")
    return image.convert("L")


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Top edge and picture of strips that are worked on one by one: what they need in between stays small."""
    height = max(1, STRIP // max(1, image.width))
    if height >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, height):
        yield top, image.crop((0, top, image.width, min(top + height, image.height)))


def _composited(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """On white in RGB, and the alpha channel."""
    picture, alpha = Image.new("RGB", image.size), Image.new("L", image.size)
    for top, strip in _strips(image):
        colours = strip.convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        picture.paste(Image.alpha_composite(white, colours).convert("RGB"), (0, top))
        alpha.paste(colours.getchannel("A"), (0, top))
    return picture, alpha


def _eight_bits(image: Image.Image) -> Image.Image:
    """Integer or float samples → L, by the range they are in: 0–1, 0–255, 0–65535 or 0–2³¹−1."""
    level, transparent = Image.new("L", image.size), image.info.get("transparency")
    peak = max(float(_values(np.asarray(strip)).max(initial=0)) for _, strip in _strips(image))
    for top, strip in _strips(image):
        samples = np.asarray(strip)
        if peak <= 255 or samples.dtype.kind == "f":
            full = 1.0 if peak <= 1 else 255.0
        else:
            full = 65535.0 if peak <= 65535 else 2.0**31 - 1
        pixels = (_values(samples) * (255 / full) + 0.5).clip(0, 255).astype(np.uint8)
        if transparent is not None:
            pixels[samples == transparent] = 255
        level.paste(Image.fromarray(pixels), (0, top))
    return level


def _values(samples: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.nan_to_num(samples.astype(np.float64)).clip(0)
