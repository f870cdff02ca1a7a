"""How long a file may be read, where what it consists of cannot be counted beforehand.

Deflate's blocks need not contain anything: 32 MB of empty ones, which begin at any bit, are 3 s of work.
"""

import math
import time
import zlib
from collections.abc import Iterable
from io import BytesIO

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from app.errors import UndecodablePicture

READS, RUNS = 65_536, 1_000_000
"""How often Pillow may ask for more of a file: three times for a PNG's chunk, twice for a GIF's block and for a run of
a run-length encoded BMP."""

LONGEST = 1.2
"""Seconds of CPU for a PNG's pixels; the largest picture allowed takes 0.7."""

LONGEST_BEFOREHAND, PIECE = 0.6, 16 * 1024
"""Seconds of CPU to go through what a TIFF's strips hold, of which the largest picture's take 0.2, in pieces of so many
bytes, which become 17 MB at most."""

MUCH = 4 * 1024 * 1024
"""Bytes; a file up to this size is not worth the look."""

DEFLATE = ("tiff_adobe_deflate", "tiff_deflate")
"""Pillow's names for a TIFF's compressions."""

STRIPS, TILES = (273, 279), (324, 325)
"""A TIFF's tags for where they are and how long."""


class CountedFile(BytesIO):
    """A file in memory that ends with UndecodablePicture when it is read too often, or too long."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = RUNS if data.startswith(b"BM") else READS
        self._longest = LONGEST if data.startswith(b"\x89PNG") else math.inf
        self._until = math.inf

    def begin(self) -> None:
        """From here on this thread decodes the picture."""
        self._until = time.thread_time() + self._longest

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise UndecodablePicture("the file has more parts than any picture")
        if self._longest < math.inf and time.thread_time() > self._until:
            raise _takes_too_long()
        return super().read(size)


def limit_effort(image: Image.Image) -> None:
    """From here on this thread decodes the picture: UndecodablePicture if that takes too long, now or meanwhile."""
    file = getattr(image, "fp", None)
    if not isinstance(file, CountedFile):
        return
    file.begin()
    if isinstance(image, TiffImageFile) and image.info["compression"] in DEFLATE:
        data = file.getbuffer()
        places, lengths = STRIPS if STRIPS[0] in image.tag_v2 else TILES
        if len(data) > MUCH:
            _inflate(data, zip(image.tag_v2[places], image.tag_v2[lengths], strict=False))


def _inflate(data: memoryview, strips: Iterable[tuple[int, int]]) -> None:
    """Where they are and how many bytes they have: does what libtiff, which cannot be stopped, is going to do."""
    until = time.thread_time() + LONGEST_BEFOREHAND
    for start, length in strips:
        decompressor, strip = zlib.decompressobj(), data[start : start + length]
        for at in range(0, len(strip), PIECE):
            try:
                decompressor.decompress(strip[at : at + PIECE])
            except zlib.error:  # it is libtiff that says so
                break
            if time.thread_time() > until:
                raise _takes_too_long()
            if decompressor.eof:
                break


def _takes_too_long() -> UndecodablePicture:
    return UndecodablePicture("the picture takes too long to decompress")
