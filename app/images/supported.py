"""The picture formats that the service reads: the table FORMATS has one row for each.

To add a format, add a row, and beside it:
- its structural check in app/images/formats/, named in the row. Files up to SMALL_FILE of app/images/decode.py, 16 kB,
  skip it, because they have too few parts to cost much; otherwise `check_small` in the row;
- `inline=False` in the row, if its reader or decoder is slow even for small files;
- a function `opener` in the row, if Pillow needs help to open it, as for HEIF;
- a weight in app/images/pixel_limit.py, if its decoder needs more memory or time per pixel than others;
- its file name extensions in app/cli/input_files.py and model/data.py;
- its content type in app/api/openapi.py and in `accept` of app/web/index.html;
- the decoder's package in pyproject.toml, if Pillow has none;
- its name in README.md, docs/api.md and docs/cli.md.
Delete its row in app/images/unsupported.py, if it has one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from app.images import heif
from app.images.formats import jpeg, png, tiff, webp


@dataclass(frozen=True)
class ImageFormat:
    name: str
    """Pillow's name for the format, and `format` in the log."""
    signature: bytes
    """Regular expression for the first bytes. It has to match every file that Pillow opens as this format.

    A file that matches and cannot be opened is damaged (422). A file that matches no row is unsupported (415).
    """
    check: Callable[[bytes], None] | None = None
    """Structural check, before Pillow reads the file. Raises UndecodablePicture, or any error for damage."""
    check_small: Callable[[bytes], None] | None = None
    """As `check`, for files up to SMALL_FILE of app/images/decode.py."""
    label: str = ""
    """The format in the text of a 415; the name if empty."""
    opener: Callable[[bytes, int], tuple[Image.Image, tuple[int, int], int]] | None = None
    """Opens a file for a limit on pixels, instead of `check` and Pillow's own opener.

    Returns the image, not yet decoded, its width and height as stored, and the pixels that it counts as.
    """
    inline: bool = True
    """Whether the event loop opens small files, and decodes tiny pictures. Not if the reader or decoder is slow."""


JPEG = ImageFormat("JPEG", rb"\xff\xd8\xff", jpeg.check, jpeg.check_small_file)

FORMATS = (
    ImageFormat("PNG", rb"\x89PNG", png.check),
    JPEG,
    ImageFormat("WEBP", rb"RIFF....WEBP", webp.check),
    ImageFormat("GIF", rb"GIF8[79]a"),  # GIF and BMP need no check: read_limits.py bounds their parts
    ImageFormat("BMP", rb"BM.{8}(?:.|....[\x0c-\x7c])\0\0\0"),  # a small offset of the pixels, or the header's size
    ImageFormat("TIFF", rb"II(?:[*+]\0|\0\*)|MM(?:\0[*+]|\*\0)", tiff.check, tiff.check, inline=False),
    ImageFormat("HEIF", heif.SIGNATURE, label="AVIF, HEIC", opener=heif.open_heif, inline=False),
)

SIGNATURES = tuple((re.compile(row.signature, re.DOTALL), row) for row in FORMATS)

LABELS = ", ".join(row.label or row.name for row in FORMATS)
"""All formats, for the text of a 415."""


def find_format(data: bytes) -> ImageFormat | None:
    """The row of FORMATS that matches the first bytes of a file, or None."""
    return next((row for signature, row in SIGNATURES if signature.match(data)), None)
