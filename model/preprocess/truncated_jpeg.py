"""Decodes a JPEG that lacks only its end marker, as some cameras and uploaders leave it."""

from collections.abc import Callable
from io import BytesIO

from PIL import Image

END = b"\xff\xd9"

NOISE = bytes.fromhex("5aa53c9669c3") * 6
"""Bits that change the picture if any pixel is decoded from them."""

NOISE_AFTER_RESTARTS = b"".join(bytes((0xFF, 0xD0 + i % 8)) + NOISE[i % 6 :] for i in range(16))
"""Noise after each of the eight restart markers, because a decoder skips data until the marker that it expects."""


def decode_truncated(data: bytes, open_image: Callable[[BytesIO], Image.Image]) -> Image.Image | None:
    """The decoded picture, or None if pixels are missing too. Raises what `open_image` and Pillow's decoder raise.

    The file is decoded with two different endings. If the pixels are equal, all of them are in the file. This does not
    find what the scans of a progressive JPEG lack.
    """
    content, images = data.rstrip(b"\xff"), []  # without fill bytes and half an end marker
    for ending in (END, NOISE + NOISE_AFTER_RESTARTS + END):
        image = open_image(BytesIO(content + ending))
        image.load()
        images.append(image)
    return images[0] if images[0].tobytes() == images[1].tobytes() else None
