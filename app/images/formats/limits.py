"""What no picture has, whatever its format: a file with more is refused before Pillow, which works on it in Python.

A few megabytes of empty segments, chunks, scans or strips would otherwise be seconds of work and hundreds of
megabytes. The limits here and beside each format are far beyond what programs write; each is a fraction of a second.
"""

from app.errors import UndecodablePicture

PARTS = 16_384
"""A PNG's or WebP's chunks (32 MB in pieces of 2 kB), and a JPEG's segments."""

EXIF = 256 * 1024
"""Bytes of EXIF data."""


def too_many(what: str) -> UndecodablePicture:
    """The error for more of it than any picture has."""
    return UndecodablePicture(f"the file has more {what} than any picture")
