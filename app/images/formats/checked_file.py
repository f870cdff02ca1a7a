"""What a file consists of is counted before Pillow reads it, or meanwhile: much of that is done in Python."""

from io import BytesIO

from app.images.formats import jpeg, png, tiff, webp
from app.images.read_limits import CountedFile

SMALL = 16 * 1024
"""Bytes; a file up to this size cannot hold enough parts to matter, but for a JPEG's scans."""


def open_file(data: bytes) -> BytesIO:
    """What Pillow may read. Raises UndecodablePicture for more parts than any picture has, or as damage leads to it."""
    if len(data) <= SMALL:
        if data[:1] == b"\xff" and len(jpeg.SCAN.findall(data)) > jpeg.SCANS:
            jpeg.check_scans(data, 2)
        return BytesIO(data)
    if data[:1] == b"\xff":
        jpeg.check(data)
    elif data.startswith(b"\x89PNG"):
        png.check(data)
    elif data.startswith((b"II", b"MM")):
        tiff.check(data)
    elif data.startswith(b"RIFF") and data.startswith(b"WEBP", 8):
        webp.check(data)
    return CountedFile(data)
