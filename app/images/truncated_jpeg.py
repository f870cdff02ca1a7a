"""A JPEG without its end marker, as some cameras and uploaders leave it: whether that is all it lacks."""

from collections.abc import Callable

from PIL import Image

from app.images.formats.jpeg import has_every_scan

END = b"\xff\xd9"

NOISE = bytes.fromhex("5aa53c9669c3") * 6
"""Bits that are no part of any picture."""

RESTARTS = b"".join(bytes((0xFF, 0xD0 + i % 8)) + NOISE[i % 6 :] for i in range(16))
"""The same behind each restart marker, of which a decoder waits for a certain one."""

TAILS = (END, NOISE + RESTARTS + END)

LONGEST = 0.35
"""Seconds of CPU of the first try up to which there are two more."""


def completed(data: bytes, opened: Callable[[bytes], Image.Image], spent: float) -> Image.Image | None:
    """The decoded picture, if only its end is missing: whatever follows changes nothing. None if pixels are missing.

    `opened` opens a file without decoding it; `spent` is what it took to find out that the end is missing, in seconds
    of CPU.
    """
    if spent > LONGEST or not has_every_scan(data):
        return None
    begun, pictures = data.rstrip(b"\xff"), []  # half of the end, or fill bytes
    for tail in TAILS:
        picture = opened(begun + tail)
        picture.load()
        pictures.append(picture)
    return pictures[0] if pictures[0].tobytes() == pictures[1].tobytes() else None
