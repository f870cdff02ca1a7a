"""Bytes → picture, within limits: only formats on the list, never more pixels than allowed."""

import re
import time
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import BmpImagePlugin, ExifTags, Image, JpegImagePlugin, TiffImagePlugin

from app.errors import EmptyBody, TooManyPixels, UndecodablePicture, UnsupportedFormat
from app.images.formats.checked_file import open_file
from app.images.formats.jpeg import has_several_scans
from app.images.formats.small_png import read_small_png
from app.images.heif import is_heif, open_heif
from app.images.read_limits import limit_effort
from app.images.truncated_jpeg import completed
from app.images.unsupported import foreign
from model.preprocess import BackgroundOption, Mode, Preprocessed, preprocess

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

SIGNATURE = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|RIFF....WEBP|GIF8[79]a|BM........[\x00-\xff]\0\0\0|II[*+]\0|MM\0[*+]", re.DOTALL
)
"""How files of these formats begin: tells a damaged picture from something else."""

FIRST_BYTES = {
    b"\x89": "PNG",
    b"\xff": "JPEG",
    b"R": "WEBP",
    b"G": "GIF",
    b"B": "BMP",
    b"I": "TIFF",
    b"M": "TIFF",
    b"\0": "HEIF",
}

DRAFT_PIXELS = 1_000_000
"""A JPEG with more is decoded at a reduced scale: much less work, and no difference at 96×96."""

DRAFT_SIDE = 256
"""What the shorter side of a JPEG decoded at a reduced scale has at least."""

FULL_SCALE = 8
"""How many times the limit on pixels a JPEG that is decoded at a reduced scale may have …"""

PROGRESSIVE_SCALE = 5
"""… and how many samples a progressive one, whose coefficients are all held at full size, two bytes each: of 16 million
pixels come 26 in three full bands, 53 where colours have half the resolution, as most have, and 20 in four bands."""

WEBP_SCALE = 4 / 3
"""What a pixel of a WebP counts: its decoder holds three pictures beside ours, and the whole file …"""

RUN_LENGTH_SCALE = 4
"""… and one of a run-length encoded BMP, which Pillow decodes in Python."""

WIDTH, LENGTH, TILE_WIDTH, TILE_LENGTH = 256, 257, 322, 323
"""TIFF's tags."""

Image.MAX_IMAGE_PIXELS = None  # the limit is ours, checked below before anything is decoded


def picture_format(data: bytes) -> str:
    """Of a picture that has been decoded: one of FORMATS or HEIF, AVIF being one, from its first byte."""
    return FIRST_BYTES.get(data[:1], "")


@dataclass(frozen=True)
class Picture:
    """A picture whose header has been read, not yet decoded."""

    image: Image.Image
    size: tuple[int, int]
    """Width and height as stored; the image's own are smaller where it is decoded at a reduced scale."""
    share: float
    """Its part of what decoding the largest picture allowed would hold."""
    data: bytes

    @property
    def tiny(self) -> bool:
        """Preparing it costs less than handing it to a thread."""
        return self.image.format != "TIFF" and self.image.width * self.image.height <= 48 * 48


def open_picture(data: bytes, max_pixels: int) -> Picture:
    """Reads the header; decodes nothing but the smallest.

    Raises EmptyBody, UnsupportedFormat, UndecodablePicture or TooManyPixels.
    """
    if not data:
        raise EmptyBody("the picture has no bytes")
    if small := read_small_png(data):
        return Picture(small, small.size, 0.0, data)
    try:
        if is_heif(data):
            image, size, pixels = open_heif(data, max_pixels)
            allowed = max_pixels
        else:
            image, size = _opened(open_file(data))
            pixels, allowed = _pixels(image, data, size, max_pixels)
    except Exception as error:  # Pillow's readers raise whatever a malformed file leads them to
        if isinstance(error, UnsupportedFormat):
            raise
        if kind := foreign(data):
            raise UnsupportedFormat(kind) from error
        if SIGNATURE.match(data) or is_heif(data) or (len(data) < 14 and data.startswith((b"\x89PNG", b"GIF8"))):
            if isinstance(error, UndecodablePicture):
                raise
            raise UndecodablePicture("the picture's header cannot be read") from error
        raise UnsupportedFormat(f"the data is none of {', '.join(FORMATS)}, AVIF, HEIC") from error
    if pixels > allowed:
        raise TooManyPixels(_limit(size, pixels, allowed, max_pixels))
    return Picture(image, size, pixels / allowed, data)


def _opened(file: BytesIO) -> tuple[Image.Image, tuple[int, int]]:
    """The picture as it is going to be decoded, and its size as stored."""
    image = Image.open(file, formats=FORMATS)
    size = image.size
    if size[0] * size[1] > DRAFT_PIXELS:
        image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))  # does something for JPEG alone
    return image, size


def prepare(picture: Picture, mode: Mode = "auto", background: BackgroundOption = "auto") -> Preprocessed:
    """Decodes the picture and brings it to what the network sees. Raises UndecodablePicture."""
    started = time.thread_time()
    try:
        limit_effort(picture.image)
        try:
            return _prepared(picture, mode, background)
        except OSError as error:
            failure = error.with_traceback(None)  # which holds the memory of the decoder
        if (whole := _completed(picture, time.thread_time() - started)) is None:
            raise failure
        return _prepared(whole, mode, background)
    except UndecodablePicture:
        raise
    except Exception as error:  # as above: whatever goes wrong in decoding is the file's fault
        raise UndecodablePicture("the picture is truncated or damaged") from error


def _prepared(picture: Picture, mode: Mode, background: BackgroundOption) -> Preprocessed:
    result = preprocess(picture.image, mode, background)
    return result if picture.image.size == picture.size else _at_full_size(result, picture)


def _completed(picture: Picture, spent: float) -> Picture | None:
    """A JPEG that could not be decoded because its end marker is missing, decoded nevertheless."""
    if not isinstance(picture.image, JpegImagePlugin.JpegImageFile):
        return None
    image = completed(picture.data, lambda data: _opened(BytesIO(data))[0], spent)
    return replace(picture, image=image) if image else None


def _at_full_size(result: Preprocessed, picture: Picture) -> Preprocessed:
    """The crop in pixels of the picture that was sent, not of the smaller one that was decoded."""
    scale = picture.size[0] / picture.image.width
    if isinstance(picture.image, JpegImagePlugin.JpegImageFile):
        scale = round(scale)  # a half, a quarter or an eighth, its edges rounded up
    turned = picture.image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    width, height = picture.size[::-1] if turned else picture.size
    left, top, right, bottom = (round(scale * edge) for edge in result.crop)
    return replace(result, crop=(left, top, min(right, width), min(bottom, height)))


def _pixels(image: Image.Image, data: bytes, size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """How many pixels decoding would hold at once, or go through, and how many it may."""
    pixels = size[0] * size[1]
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.size != size:
        if has_several_scans(data):
            return _samples(image, pixels), PROGRESSIVE_SCALE * max_pixels
        return pixels, FULL_SCALE * max_pixels
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # a tile is decoded whole, whatever part is in the picture
        width, length = image.tag_v2.get(TILE_WIDTH, 1), image.tag_v2.get(TILE_LENGTH, 1)
        across, down = -(-image.tag_v2[WIDTH] // width), -(-image.tag_v2[LENGTH] // length)
        return across * width * down * length, max_pixels
    if isinstance(image, BmpImagePlugin.BmpImageFile) and image.tile[0].codec_name == "bmp_rle":
        return RUN_LENGTH_SCALE * pixels, max_pixels
    return round(WEBP_SCALE * pixels) if image.format == "WEBP" else pixels, max_pixels


def _limit(size: tuple[int, int], counted: int, allowed: int, max_pixels: int) -> str:
    """What was counted, how many there may be, and which setting says so."""
    of = f"{allowed // max_pixels} times " if allowed > max_pixels else ""
    as_many = f", which count as {counted:,} here" if counted != size[0] * size[1] else ""
    return (
        f"the picture has {size[0]}×{size[1]} = {size[0] * size[1]:,} pixels{as_many}; the limit for its format is "
        f"{allowed:,}, {of}GOOGLENET_MAX_PIXELS. Send it smaller, or as JPEG, which is decoded at a reduced scale: "
        f"{FULL_SCALE * max_pixels:,} pixels are allowed, {PROGRESSIVE_SCALE * max_pixels:,} samples if progressive"
    )


def _samples(image: JpegImagePlugin.JpegImageFile, pixels: int) -> int:
    """In all bands, of which some have fewer than there are pixels."""
    areas = [vertical * horizontal for _, vertical, horizontal, _ in image.layer]
    full = max(layer[1] for layer in image.layer) * max(layer[2] for layer in image.layer)
    return -(-pixels * sum(areas) // full)
