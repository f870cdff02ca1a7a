"""Opens and decodes pictures within limits on their format, structure, pixels and decoding time.

The formats, and how to add one, are in app/images/supported.py.
"""

import re
import time
from io import BytesIO
from typing import NamedTuple

from PIL import ExifTags, Image, JpegImagePlugin

from app.errors import EmptyBody, OutOfMemory, TooManyPixels, UndecodablePicture, UnsupportedFormat
from app.images.formats import jpeg
from app.images.formats.small_png import read_small_png
from app.images.pixel_limit import code_tables_share, count_pixels, too_many_pixels
from app.images.read_limits import LimitedFile, start_time_limit
from app.images.supported import JPEG, LABELS, ImageFormat, find_format
from app.images.unsupported import describe_unsupported
from model.preprocess import BackgroundOption, Mode, Preprocessed, preprocess
from model.preprocess.truncated_jpeg import decode_truncated

SMALL_FILE = 16 * 1024
"""Bytes. The parts of a smaller file cost at most 30 ms, except for those that the format's `check_small` counts."""

SLOW_PARTS = re.compile(rb"zTXt|iTXt|iCCP|eXIf|Exif|EXIF|MPF\0|Raw profile")
"""What Pillow decompresses or parses in Python when it opens a file: texts, color profiles, EXIF data."""

REDUCED_FROM_PIXELS = 1_000_000
"""A JPEG with more pixels is decoded at a reduced scale: far less work, and no difference at 96×96."""

REDUCED_SIDE = 256
"""Pixels that the shorter side of a JPEG keeps, at least, at a reduced scale."""

MAX_SIDE = 65_535
"""Pixels. Pillow keeps a pointer for each row of an image, and rows cannot be converted in strips."""

TINY_PIXELS = 48 * 48

MAX_TRUNCATED_SECONDS = 0.35
"""CPU time of the first attempt to decode a JPEG without its end. If it took longer, it is not decoded twice more."""

TOO_LITTLE_MEMORY = "the server has too little memory for this picture at the moment"

Image.MAX_IMAGE_PIXELS = None  # app/images/pixel_limit.py replaces Pillow's own limit


class Picture(NamedTuple):
    """A picture whose header has been read and whose pixels have not been decoded."""

    image: Image.Image
    size: tuple[int, int]
    """Width and height as stored. The image is smaller if it is decoded at a reduced scale."""
    budget_share: float
    """Memory for decoding it, as a fraction of what the largest picture allowed needs."""
    data: bytes

    @property
    def is_tiny(self) -> bool:
        """Whether decoding is short enough for the event loop, if `open_inline` has opened it."""
        return self.image.width * self.image.height <= TINY_PIXELS


def picture_format(data: bytes) -> str:
    """The format's name in FORMATS; HEIF stands for AVIF too. Empty for anything else."""
    found = find_format(data)
    return found.name if found else ""


def open_picture(data: bytes, max_pixels: int) -> Picture:
    """Reads the header. Only the smallest PNGs are decoded here.

    Raises EmptyBody, UnsupportedFormat, UndecodablePicture, TooManyPixels or OutOfMemory.
    """
    if not data:
        raise EmptyBody("the picture has no bytes")
    if small := read_small_png(data):
        return Picture(small, small.size, 0.0, data)
    found = find_format(data)
    if found is None:
        raise UnsupportedFormat(describe_unsupported(data) or f"the data is none of {LABELS}")
    try:
        if found.opener:
            image, size, counted = found.opener(data, max_pixels)
            allowed = max_pixels
        else:
            image, size = _open_reduced(_checked_file(data, found), found)
            counted, allowed = count_pixels(image, data, size, max_pixels)
    except UnsupportedFormat:
        raise
    except MemoryError as error:
        raise OutOfMemory(TOO_LITTLE_MEMORY) from error
    except Exception as error:  # Pillow raises many kinds of exceptions for malformed files
        if description := describe_unsupported(data):
            raise UnsupportedFormat(description) from error
        if isinstance(error, UndecodablePicture):
            raise
        raise UndecodablePicture("the picture's header cannot be read") from error
    if max(size) > MAX_SIDE:
        raise TooManyPixels(f"the picture has {size[0]}×{size[1]} pixels; a side may have {MAX_SIDE:,}")
    if counted > allowed:
        raise too_many_pixels(size, counted, allowed, max_pixels)
    return Picture(image, size, counted / allowed + code_tables_share(image, data), data)


def open_inline(data: bytes, max_pixels: int) -> Picture | None:
    """As `open_picture`, for a file of at most a few kilobytes. None if it may take too long in the event loop.

    Opening and decoding a tiny picture take 0.1 ms if it looks like the data set, else at most 3 ms.
    """
    if small := read_small_png(data):
        return Picture(small, small.size, 0.0, data)
    found = find_format(data)
    if found and (not found.inline or SLOW_PARTS.search(data)):
        return None
    return open_picture(data, max_pixels)


def _checked_file(data: bytes, found: ImageFormat) -> BytesIO:
    """The file for Pillow, after the structural check of its format."""
    if len(data) <= SMALL_FILE:
        if found.check_small:
            found.check_small(data)
        return BytesIO(data)
    if found.check:
        found.check(data)
    return LimitedFile(data)


def _open_reduced(file: BytesIO, found: ImageFormat) -> tuple[Image.Image, tuple[int, int]]:
    """The image, at a reduced scale if it is a large JPEG, and its width and height as stored."""
    image = Image.open(file, formats=(found.name,))
    size = image.size
    if size[0] * size[1] > REDUCED_FROM_PIXELS:
        image.draft(None, (REDUCED_SIDE, REDUCED_SIDE))  # has an effect on JPEG only
    return image, size


def decode_and_preprocess(picture: Picture, mode: Mode = "auto", background: BackgroundOption = "auto") -> Preprocessed:
    """Decodes the pixels and makes the network's input of them, uint8 [96,96].

    Raises UndecodablePicture or OutOfMemory.
    """
    started = time.thread_time()
    try:
        start_time_limit(picture.image)
        try:
            return _preprocess(picture, mode, background)
        except OSError as error:
            failure = error.with_traceback(None)  # the traceback would keep the decoder's memory
        if (restored := _decode_truncated(picture, time.thread_time() - started)) is None:
            raise failure
        return _preprocess(restored, mode, background)
    except UndecodablePicture:
        raise
    except MemoryError as error:
        raise OutOfMemory(TOO_LITTLE_MEMORY) from error
    except Exception as error:  # Pillow raises many kinds of exceptions for malformed files
        raise UndecodablePicture("the picture is truncated or damaged") from error


def _preprocess(picture: Picture, mode: Mode, background: BackgroundOption) -> Preprocessed:
    """The crop is in pixels of the picture as sent, even if a reduced one was decoded."""
    result = preprocess(picture.image, mode, background)
    if picture.image.size == picture.size:
        return result
    scale = picture.size[0] / picture.image.width
    if isinstance(picture.image, JpegImagePlugin.JpegImageFile):
        scale = round(scale)  # 2, 4 or 8; the reduced sides were rounded up
    turned = picture.image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    width, height = picture.size[::-1] if turned else picture.size
    left, top, right, bottom = (round(scale * edge) for edge in result.crop)
    return result._replace(crop=(left, top, min(right, width), min(bottom, height)))


def _decode_truncated(picture: Picture, seconds: float) -> Picture | None:
    """The picture decoded, if it is a JPEG that lacks only its end marker.

    `seconds` is the CPU time of the attempt that failed.
    """
    is_jpeg = isinstance(picture.image, JpegImagePlugin.JpegImageFile)
    if not is_jpeg or seconds > MAX_TRUNCATED_SECONDS or not jpeg.has_all_coefficients(picture.data):
        return None
    image = decode_truncated(picture.data, lambda file: _open_reduced(file, JPEG)[0])
    return picture._replace(image=image) if image else None
