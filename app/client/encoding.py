"""Whatever a program has of a picture → the bytes that are sent."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]
"""A path, a file's bytes, a file open for reading in binary, a PIL image, or uint8 [h,w], [h,w,3] or [h,w,4]."""

AS_PNG = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
"""Modes that PNG stores as they are …"""

AS_TIFF = {"I", "F"}
"""… and those that only TIFF does; all others are sent as RGB."""


def encode(picture: Picture) -> bytes:
    """Files as they are, images and arrays as PNG.

    Raises OSError for a file that cannot be read, TypeError and ValueError for what is no picture.
    """
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | PathLike):
        return Path(fspath(picture)).read_bytes()
    if isinstance(picture, Image.Image):
        return _encode_image(picture)
    if isinstance(picture, np.ndarray):
        return _encode_array(picture)
    if not hasattr(picture, "read"):
        raise TypeError(f"a {type(picture).__name__} is no picture: path, bytes, file, PIL image or numpy array")
    data = picture.read()
    if not isinstance(data, bytes):
        raise TypeError("the file is open as text: open it with 'rb'")
    return data


def _encode_array(array: NDArray[np.uint8]) -> bytes:
    if array.dtype != np.uint8:
        raise TypeError(f"the array is of {array.dtype}: pictures are uint8, 0 to 255")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"the array has the shape {array.shape}: pictures are [h,w], [h,w,3] or [h,w,4]")
    return _encode_image(Image.fromarray(np.ascontiguousarray(array)))


def _encode_image(image: Image.Image) -> bytes:
    """Lossless and fast rather than small; with its EXIF orientation, so that the other side turns it upright."""
    image.load()
    if image.mode not in AS_PNG | AS_TIFF:
        image = image.convert("RGB")
    file = BytesIO()
    if image.mode in AS_TIFF:
        image.save(file, "TIFF")
    else:
        image.save(file, "PNG", compress_level=1, exif=image.getexif())
    return file.getvalue()


def portions(encoded: Sequence[object], limit: int) -> Iterator[list[int]]:
    """The places of those that are bytes, in order, by portions of up to `limit` bytes, or of one picture."""
    places: list[int] = []
    size = 0
    for i, data in enumerate(encoded):
        if not isinstance(data, bytes):
            continue
        if places and size + len(data) > limit:
            yield places
            places, size = [], 0
        places.append(i)
        size += len(data)
    if places:
        yield places
