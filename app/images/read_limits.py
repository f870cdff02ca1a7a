"""Limits on reading a file: how often Pillow may read from it, and how long decompression may take.

They stop files whose content cannot be counted beforehand. Deflate blocks, for example, may be empty and may begin at
any bit: 32 MB of empty blocks take 3 s to decompress.
"""

import math
import time
import zlib
from collections.abc import Iterable
from io import BytesIO

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from app.errors import UndecodablePicture

MAX_READS, MAX_BMP_READS = 65_536, 1_000_000
"""Reads by Pillow: three for a PNG's chunk, two for a GIF's block and for a run of a run-length encoded BMP."""

MAX_PNG_SECONDS = 1.2
"""CPU time to decode a PNG's pixels. The largest picture allowed takes 0.7 s."""

MAX_TIFF_SECONDS = 0.6
"""CPU time to decompress a TIFF's strips. Those of the largest picture allowed take 0.2 s."""

PIECE_BYTES = 16 * 1024
"""Bytes that are decompressed between two checks of the time limit. They decompress to at most 17 MB."""

SMALL_TIFF = 4 * 1024 * 1024
"""Bytes. The strips of a smaller TIFF need not be checked."""

DEFLATE = ("tiff_adobe_deflate", "tiff_deflate")
"""Pillow's names for compressions of a TIFF."""

STRIP_TAGS, TILE_TAGS = (273, 279), (324, 325)
"""Tags of a TIFF with the offsets and the byte counts of its strips or tiles."""


class LimitedFile(BytesIO):
    """A file in memory that raises UndecodablePicture if it is read too often, or after its deadline."""

    deadline = math.inf
    """In CPU time of the thread that reads."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left = MAX_BMP_READS if data.startswith(b"BM") else MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise UndecodablePicture("the file has more parts than any picture")
        if self.deadline < math.inf and time.thread_time() > self.deadline:
            raise _takes_too_long()
        return super().read(size)


def start_time_limit(image: Image.Image) -> None:
    """Limits the CPU time that the calling thread may spend on decoding the image.

    Raises UndecodablePicture if a TIFF's strips take too long to decompress. A PNG's file raises it while it is read.
    """
    file = getattr(image, "fp", None)
    if not isinstance(file, LimitedFile):
        return
    if image.format == "PNG":
        file.deadline = time.thread_time() + MAX_PNG_SECONDS
    if isinstance(image, TiffImageFile) and image.info["compression"] in DEFLATE:
        data = file.getbuffer()
        offsets, lengths = STRIP_TAGS if STRIP_TAGS[0] in image.tag_v2 else TILE_TAGS
        if len(data) > SMALL_TIFF:
            _check_strips(data, zip(image.tag_v2[offsets], image.tag_v2[lengths], strict=False))


def _check_strips(data: memoryview, strips: Iterable[tuple[int, int]]) -> None:
    """Decompresses strips, given by offset and length, against the clock: libtiff, which does it next, has none."""
    deadline = time.thread_time() + MAX_TIFF_SECONDS
    for start, length in strips:
        decompressor, strip = zlib.decompressobj(), data[start : start + length]
        for at in range(0, len(strip), PIECE_BYTES):
            try:
                decompressor.decompress(strip[at : at + PIECE_BYTES])
            except zlib.error:  # libtiff will report the damage
                break
            if time.thread_time() > deadline:
                raise _takes_too_long()
            if decompressor.eof:
                break


def _takes_too_long() -> UndecodablePicture:
    return UndecodablePicture("the picture takes too long to decompress")
