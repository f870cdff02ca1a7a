"""Any picture → uint8 [96,96], in the same way for training, evaluation and serving.

Mode `native` makes the picture upright, composites it on white, converts it to gray and resizes it to 96×96. It suits
pictures that already look like the data set: a light garment on black, cropped tight. Mode `photo` suits all others.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.preprocess.badge import find_badge
from model.preprocess.panel import find_panel
from model.preprocess.photo import process_photo
from model.preprocess.pixel_formats import composite_on_white, is_scaled_to_one, make_upright, scale_to_255, to_gray
from model.preprocess.scene import BLACK_LEVEL, SIZE, Scene, segment
from model.preprocess.silhouette import Box

VERSION = 2
"""Raised when the result changes for pictures like the training pictures. Checkpoints of other versions are refused."""

MAX_SMALL_SIDE = 32
"""Pixels: whether a picture up to this size looks like the data set is decided by its border alone."""

MIN_FILL = 0.75
"""Share of the picture's longer side that a garment of the data set fills (at least 26 of 28 pixels, of 60,000)."""

MAX_NESTING = 3
"""The greatest number of nested pictures that are unwrapped: a badge with a rim on a page between bars."""

Pixels = NDArray[np.uint8]
Rotation = Literal["auto", "0"]
"""auto: a picture that looks out of distribution may be rotated by quarter turns; 0: it may not."""
Mode = Literal["auto", "native", "photo"]
BackgroundOption = Literal["auto", "light", "dark"]
"""How light the background is; auto: as measured at the border."""


class Preprocessed(NamedTuple):
    """The 96×96 picture, and how it was made."""

    pixels: Pixels
    """uint8 [96,96]."""
    mode: str
    """native or photo."""
    inverted: bool
    """Whether light and dark were exchanged."""
    crop: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels of the upright picture."""
    certain: bool
    """False if the background is cluttered, neither light nor dark, or other than expected."""
    rotation: int = 0
    """Degrees by which the 96×96 picture was rotated afterwards, counter-clockwise."""

    def rotated(self, degrees: int) -> "Preprocessed":
        """A copy with its pixels rotated counter-clockwise by a multiple of 90 degrees."""
        pixels = np.ascontiguousarray(np.rot90(self.pixels, degrees // 90))
        return self._replace(pixels=pixels, rotation=degrees)


def preprocess(image: Image.Image, mode: Mode = "auto", background: BackgroundOption = "auto") -> Preprocessed:
    """Makes the network's input from any picture.

    `auto` is `native` for pictures that look like the data set's, `photo` for all others. With a `background` of
    light, no picture looks like the data set's. If the border contradicts `background`, the picture stays whole and
    is inverted if `background` is light. Of a picture that shows another, such as a plotted figure, the inner one is
    used, except in mode `native`.

    Raises ValueError for a colour mode that cannot be converted to gray.
    """
    image = make_upright(image)
    scaled_to_one = is_scaled_to_one(image)
    if mode == "native":
        result = _native_result(image, native(image))
    else:
        result = _preprocess(scale_to_255(image) if scaled_to_one else image, mode, background, MAX_NESTING)
    return result._replace(certain=False) if scaled_to_one else result


def _preprocess(image: Image.Image, mode: Mode, background: BackgroundOption, nesting: int) -> Preprocessed:
    may_be_native, is_small = mode == "auto" and background != "light", max(image.size) <= MAX_SMALL_SIDE
    if may_be_native and is_small:
        gray = to_gray(image)
        pixels = _resize_to_input(gray)
        if looks_native(gray, pixels):
            return _native_result(image, pixels)
    scene = segment(*composite_on_white(image))
    if nesting and (found := _inner_picture(scene)):
        box, inner = found
        result = _preprocess(inner, mode, background, nesting - 1)
        left, top, right, bottom = result.crop
        return result._replace(crop=(box[0] + left, box[1] + top, box[0] + right, box[1] + bottom))
    if may_be_native and not is_small and scene.looks_native:
        return _native_result(image, native(image))
    photo = process_photo(scene, background)
    return Preprocessed(_resize_to_input(photo.pixels), "photo", photo.inverted, photo.crop, photo.certain)


def _inner_picture(scene: Scene) -> tuple[Box, Image.Image] | None:
    """Box and pixels of the picture that this one shows, if it shows one."""
    box = find_panel(scene)
    return find_badge(scene) if box is None else (box, scene.image.crop(box))


def native(image: Image.Image) -> Pixels:
    """`convert("L")` and `resize((96, 96), BILINEAR)`, alpha over white → uint8 [96,96]."""
    return _resize_to_input(to_gray(image))


def _native_result(image: Image.Image, pixels: Pixels) -> Preprocessed:
    return Preprocessed(pixels, mode="native", inverted=False, crop=(0, 0, *image.size), certain=True)


def _resize_to_input(gray: Image.Image) -> Pixels:
    pixels = gray.resize((SIZE, SIZE), Image.Resampling.BILINEAR).tobytes()
    return np.frombuffer(pixels, np.uint8).reshape(SIZE, SIZE)


def looks_native(gray: Image.Image, pixels: Pixels) -> bool:
    """Whether a small gray picture looks like the data set's: square, filled, the border dark or of many colours.

    The border is read from `pixels`, the picture resized to uint8 [96,96], which exists already. Plain bytes are
    faster than numpy for so few values.
    """
    width, height = gray.size
    box = gray.getbbox()
    if box is None or not 0.9 <= width / height <= 1.1:
        return False
    border = pixels[0].tobytes() + pixels[-1].tobytes() + pixels[:, 0].tobytes() + pixels[:, -1].tobytes()
    median = 0 if 2 * border.count(0) > len(border) else sorted(border)[len(border) // 2]
    if median > BLACK_LEVEL:
        alike = sum(abs(value - median) <= BLACK_LEVEL // 2 for value in border)
        return median < 128 and alike < len(border) // 2
    return max(box[2] - box[0], box[3] - box[1]) >= MIN_FILL * max(width, height)
