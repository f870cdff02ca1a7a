"""Structural check of a WebP: counts its chunks."""

from app.images.formats.limits import MAX_EXIF_BYTES, MAX_PARTS, too_many


def check(data: bytes) -> None:
    """Raises UndecodablePicture for more chunks or EXIF data than any picture has."""
    at, parts = 12, 0
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        parts += 1
        if parts > MAX_PARTS or (kind == b"EXIF" and length > MAX_EXIF_BYTES):
            raise too_many("chunks or longer EXIF data")
        at += 8 + length + (length & 1)
