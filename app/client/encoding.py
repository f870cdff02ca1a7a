"""Turns a picture, in any form that a program may have it, into the bytes that the client sends."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.client.errors import UnreadablePicture

Picture = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]
"""A path, a file's bytes, a file opened with "rb", a PIL image, or an array uint8 [h,w], [h,w,3] or [h,w,4]."""

PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
TIFF_MODES = {"I", "F"}
"""PIL modes that each format stores without loss. An image in any other mode is sent as RGB."""


def encode(picture: Picture) -> bytes:
    """Returns the bytes of a file unchanged, and images and arrays as PNG or TIFF.

    Raises OSError for a file that cannot be read; TypeError or ValueError for an argument that is not a picture.
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
        raise TypeError(f"a {type(picture).__name__} is not a picture: path, bytes, file, PIL image or numpy array")
    data = picture.read()
    if not isinstance(data, bytes):
        raise TypeError("the file is open as text: open it with 'rb'")
    return data


def encode_or_error(picture: Picture) -> bytes | UnreadablePicture:
    """As `encode`, but returns an OSError as UnreadablePicture."""
    try:
        return encode(picture)
    except OSError as error:
        return UnreadablePicture(f"{error.strerror or error}")


def _encode_array(array: NDArray[np.uint8]) -> bytes:
    if array.dtype != np.uint8:
        raise TypeError(f"the array is of {array.dtype}: pictures are uint8, 0 to 255")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"the array has the shape {array.shape}: pictures are [h,w], [h,w,3] or [h,w,4]")
    return _encode_image(Image.fromarray(np.ascontiguousarray(array)))


def _encode_image(image: Image.Image) -> bytes:
    """Lossless, and fast rather than small. Keeps the EXIF orientation, which the service applies."""
    image.load()
    if image.mode.startswith("I;16") and image.mode not in PNG_MODES:  # of another byte order
        image = image.convert("I")
    if image.mode not in PNG_MODES | TIFF_MODES:
        image = image.convert("RGB")
    file = BytesIO()
    if image.mode in TIFF_MODES:
        image.save(file, "TIFF")
    else:
        image.save(file, "PNG", compress_level=1, exif=image.getexif())
    return file.getvalue()


def group_by_size(encoded: Sequence[bytes | UnreadablePicture], limit: int) -> Iterator[list[int]]:
    """Groups the indices of the encoded pictures, in order, into groups of at most `limit` bytes or of one picture."""
    indices: list[int] = []
    size = 0
    for i, data in enumerate(encoded):
        if not isinstance(data, bytes):
            continue
        if indices and size + len(data) > limit:
            yield indices
            indices, size = [], 0
        indices.append(i)
        size += len(data)
    if indices:
        yield indices
