"""Limits that several formats share, and the error for a file that exceeds one.

Pillow processes a file's parts in Python. A few megabytes of empty segments, chunks, scans or strips would take it
seconds and hundreds of megabytes. The limits here, and those in the module of each format, are far above what programs
write. A file within them takes a fraction of a second.
"""

from app.errors import UndecodablePicture

MAX_PARTS = 16_384
"""Chunks of a PNG or WebP (32 MB in chunks of 2 kB), segments of a JPEG, or boxes of an AVIF or HEIC."""

MAX_EXIF_BYTES = 256 * 1024


def too_many(parts: str) -> UndecodablePicture:
    """The error for a file with more of these parts than any picture has."""
    return UndecodablePicture(f"the file has more {parts} than any picture")
