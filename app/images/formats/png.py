"""Structural check of a PNG: counts its chunks."""

from app.images.formats.limits import MAX_EXIF_BYTES, MAX_PARTS, too_many

MAX_COMPRESSED_CHUNKS = 128
"""Compressed texts and color profiles. Each may decompress to a megabyte."""


def check(data: bytes) -> None:
    """Raises UndecodablePicture for more chunks, compressed texts or EXIF data than any picture has."""
    at, parts, compressed, exif = 8, 0, 0, 0
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            break
        parts += 1
        if kind in (b"iCCP", b"zTXt", b"iTXt"):
            compressed += 1
        if kind == b"eXIf" or data.startswith(b"Raw profile type exif", at + 8):
            exif += length
        if parts > MAX_PARTS or compressed > MAX_COMPRESSED_CHUNKS or exif > MAX_EXIF_BYTES:
            raise too_many("chunks or longer EXIF data")
        at += 12 + length
