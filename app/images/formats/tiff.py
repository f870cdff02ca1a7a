"""A TIFF's directories, their tags, and how many strips and numbers those announce."""

import struct

from app.errors import UndecodablePicture
from app.images.formats.limits import too_many

TAGS, STRIPS, NUMBERS, FRACTIONS = 1024, 32_768, 262_144, 4_096
"""A TIFF's tags, its strips or tiles, and the numbers and fractions in all its other tags."""

STRIP_TAGS, LENGTH_TAGS = (273, 279, 324, 325), (279, 325)
"""Where they are and how long; a strip's bytes are read again for each that says it has them."""

TEXTS = (269, 270, 271, 272, 285, 305, 306, 315, 316, 333, 337)
"""Among a TIFF's own tags, to 346, those that may be long; those beyond are other programs', and kept as they are."""

SUB_DIRECTORIES = (34665, 34853, 40965)
"""Tags with EXIF's, GPS' and interoperability's own tags."""

INTEGERS = {3: "H", 4: "L", 13: "L", 16: "Q"}
"""A TIFF's types that can say where something is."""


def check(data: bytes) -> None:
    """Raises UndecodablePicture for more tags, strips or numbers than any picture has, and any error for damage.

    Goes through the first picture's directory and those it leads to, as Pillow finds them.
    """
    if data.startswith(b"MM\0+"):
        raise UndecodablePicture("a BigTIFF with the highest byte first cannot be read")
    order, big = "<" if data.startswith(b"II") else ">", data[2] == 43
    entry, number = struct.Struct(order + ("HHQ" if big else "HHL")), order + ("Q" if big else "H")
    directories, seen = [struct.unpack_from(order + ("Q" if big else "L"), data, 8 if big else 4)[0]], set[int]()
    tags = strips = lengths = numbers = fractions = 0
    while directories:
        at = directories.pop()
        if at in seen or at + 8 > len(data):
            continue
        seen.add(at)
        (count,) = struct.unpack_from(number, data, at)
        tags += count
        if tags > TAGS:
            raise too_many("tags")
        width = entry.size + (8 if big else 4)
        for place in range(at + struct.calcsize(number), len(data) - width + 1, width)[:count]:
            tag, kind, values = entry.unpack_from(data, place)
            if tag in SUB_DIRECTORIES and kind in INTEGERS:
                directories.append(struct.unpack_from(order + INTEGERS[kind], data, place + entry.size)[0])
            if tag in STRIP_TAGS:
                strips = max(strips, values)
                if tag in LENGTH_TAGS and values <= STRIPS:
                    lengths += _sum(data, order + f"{values}{INTEGERS[kind]}", place + entry.size, big)
            elif kind in (5, 10):
                fractions += values
            elif kind not in (1, 2, 6, 7) or (tag <= 346 and tag not in TEXTS):
                numbers += values
        if lengths > 2 * len(data) or strips > STRIPS or numbers > NUMBERS or fractions > FRACTIONS:
            raise too_many("strips, or numbers in its tags,")


def _sum(data: bytes, numbers: str, at: int, big: bool) -> int:
    """Of a tag's numbers, which are in its entry where they have room there; 0 for what is not in the file."""
    if struct.calcsize(numbers) > (8 if big else 4):
        (at,) = struct.unpack_from(numbers[0] + ("Q" if big else "L"), data, at)
    return sum(struct.unpack_from(numbers, data, at)) if at + struct.calcsize(numbers) <= len(data) else 0
