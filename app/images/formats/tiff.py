"""Structural check of a TIFF: counts the tags in its directories, and the strips and numbers that the tags announce."""

import struct
from collections.abc import Iterator

from app.errors import UndecodablePicture
from app.images.formats.limits import too_many

MAX_TAGS, MAX_STRIPS, MAX_NUMBERS, MAX_FRACTIONS = 1024, 32_768, 262_144, 4_096
"""Tags, strips or tiles, and the numbers and fractions in all other tags."""

STRIP_TAGS, LENGTH_TAGS = (273, 279, 324, 325), (279, 325)
"""Tags with the offsets and lengths of strips or tiles. Bytes that several strips share are read for each of them."""

TEXT_TAGS = (269, 270, 271, 272, 285, 305, 306, 315, 316, 333, 337)
"""Tags up to LAST_TIFF_TAG that may be long."""

LAST_TIFF_TAG = 346
"""The last tag of TIFF itself. Later tags are those of other programs; Pillow keeps their bytes as they are."""

DIRECTORY_TAGS = (34665, 34853, 40965)
"""Tags with the offset of another directory: EXIF, GPS and interoperability."""

INTEGER_TYPES = {3: "H", 4: "L", 13: "L", 16: "Q"}
"""Types of a tag that may hold offsets and lengths, and their format characters for struct."""

COMPRESSION, LZMA = 259, 34925
"""The tag, and its value for a compression that takes seconds for a megabyte. Hardly any program writes it."""

BYTE_TYPES, FRACTION_TYPES = (1, 2, 6, 7), (5, 10)


def check(data: bytes) -> None:
    """Raises UndecodablePicture for more tags, strips or numbers than any picture has, and any error for damage."""
    if data.startswith(b"MM\0+"):
        raise UndecodablePicture("a BigTIFF with the highest byte first cannot be read")
    order, big = "<" if data.startswith(b"II") else ">", data[2] == 43
    strips = strip_bytes = numbers = fractions = 0
    for tag, kind, count, at in _entries(data, order, big):
        if tag == COMPRESSION and struct.unpack_from(order + "H", data, at) == (LZMA,):
            raise UndecodablePicture("LZMA compression of TIFF is not supported")
        if tag in STRIP_TAGS:
            strips = max(strips, count)
            if tag in LENGTH_TAGS and count <= MAX_STRIPS:
                strip_bytes += _sum(data, order + f"{count}{INTEGER_TYPES[kind]}", at, big)
        elif kind in FRACTION_TYPES:
            fractions += count
        elif kind not in BYTE_TYPES or (tag <= LAST_TIFF_TAG and tag not in TEXT_TAGS):
            numbers += count
        if strip_bytes > 2 * len(data) or strips > MAX_STRIPS or numbers > MAX_NUMBERS or fractions > MAX_FRACTIONS:
            raise too_many("strips, or numbers in its tags,")


def _entries(data: bytes, order: str, big: bool) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, number of values and offset of the value of each entry.

    The entries are those of the first picture's directory and of the directories that its tags point to, as in Pillow.
    """
    entry, number = struct.Struct(order + ("HHQ" if big else "HHL")), order + ("Q" if big else "H")
    directories, seen = [struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)[0]], set[int]()
    tags, width = 0, entry.size + (8 if big else 4)
    while directories:
        at = directories.pop()
        if at in seen or at + 8 > len(data):
            continue
        seen.add(at)
        (count,) = struct.unpack_from(number, data, at)
        tags += count
        if tags > MAX_TAGS:
            raise too_many("tags")
        for place in range(at + struct.calcsize(number), len(data) - width + 1, width)[:count]:
            tag, kind, values = entry.unpack_from(data, place)
            if tag in DIRECTORY_TAGS and kind in INTEGER_TYPES:
                directories.append(struct.unpack_from(order + INTEGER_TYPES[kind], data, place + entry.size)[0])
            yield tag, kind, values, place + entry.size


def _sum(data: bytes, numbers: str, at: int, big: bool) -> int:
    """The sum of a tag's numbers, which are in its entry if they fit there. 0 if they are outside the file."""
    if struct.calcsize(numbers) > (8 if big else 4):
        (at,) = struct.unpack_from(numbers[0] + ("Q" if big else "L"), data, at)
    return sum(struct.unpack_from(numbers, data, at)) if at + struct.calcsize(numbers) <= len(data) else 0
