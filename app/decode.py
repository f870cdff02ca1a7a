"""Bytes → picture, within limits: only formats on the list, never more pixels than allowed."""

from io import BytesIO

from PIL import Image

from app.errors import EmptyBody, TooManyPixels, UndecodablePicture, UnsupportedFormat
from model.preprocess import Preprocessed, preprocess

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
"""How files of these formats begin: tells a damaged picture from something else."""

DRAFT_PIXELS = 1_000_000
"""A JPEG with more is decoded at a reduced scale: much less work, and no difference at 96×96."""

DRAFT_SIDE = 256
"""What the shorter side of a JPEG decoded at a reduced scale has at least."""

Image.MAX_IMAGE_PIXELS = None  # the limit is ours, checked below before anything is decoded


def open_picture(data: bytes, max_pixels: int) -> Image.Image:
    """Reads the header, decodes nothing.

    Raises EmptyBody, UnsupportedFormat, UndecodablePicture or TooManyPixels.
    """
    if not data:
        raise EmptyBody("the picture has no bytes")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
        if image.width * image.height > DRAFT_PIXELS:
            image.draft(None, (DRAFT_SIDE, DRAFT_SIDE))  # does something for JPEG alone
    except Exception as error:  # Pillow's readers raise whatever a malformed file leads them to
        if data.startswith(SIGNATURES):
            raise UndecodablePicture("the picture's header cannot be read") from error
        raise UnsupportedFormat(f"the data is none of {', '.join(FORMATS)}") from error
    if image.width * image.height > max_pixels:
        raise TooManyPixels(f"the picture has {image.width}×{image.height} pixels, more than {max_pixels}")
    return image


def prepare(image: Image.Image) -> Preprocessed:
    """Decodes the picture and brings it to what the network sees. Raises UndecodablePicture."""
    try:
        return preprocess(image)
    except Exception as error:  # as above: whatever goes wrong in decoding is the file's fault
        raise UndecodablePicture("the picture is truncated or damaged") from error
