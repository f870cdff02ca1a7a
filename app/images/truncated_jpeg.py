"""Decodes a JPEG that lacks only its end marker, as some cameras and uploaders leave it."""

from collections.abc import Callable

from PIL import Image

from app.images.formats.jpeg import has_all_coefficients

END_OF_IMAGE = b"\xff\xd9"

NOISE = bytes.fromhex("5aa53c9669c3") * 6
"""Bits that change the picture if any pixel is decoded from them."""

NOISE_AFTER_RESTARTS = b"".join(bytes((0xFF, 0xD0 + i % 8)) + NOISE[i % 6 :] for i in range(16))
"""Noise after each of the eight restart markers, because a decoder skips data until the marker that it expects."""

ENDINGS = (END_OF_IMAGE, NOISE + NOISE_AFTER_RESTARTS + END_OF_IMAGE)

MAX_SECONDS = 0.35
"""CPU time of the first attempt to decode. If it took longer, the picture is not decoded twice more."""


def decode_truncated_jpeg(data: bytes, open_jpeg: Callable[[bytes], Image.Image], seconds: float) -> Image.Image | None:
    """The decoded picture, or None if pixels are missing.

    The file is decoded with two different endings. If the pixels are equal, all of them are in the file. `open_jpeg`
    opens a file without decoding it. `seconds` is the CPU time of the attempt that failed.
    """
    if seconds > MAX_SECONDS or not has_all_coefficients(data):
        return None
    content, pictures = data.rstrip(b"\xff"), []  # drops fill bytes and half an end marker
    for ending in ENDINGS:
        picture = open_jpeg(content + ending)
        picture.load()
        pictures.append(picture)
    return pictures[0] if pictures[0].tobytes() == pictures[1].tobytes() else None
