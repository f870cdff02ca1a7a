"""What a file consists of, counted before Pillow reads it or meanwhile: much of that is done in Python, or per pixel.

A few megabytes of empty segments, chunks, scans or strips, which no picture has, would otherwise be seconds of work
and hundreds of megabytes. The limits are far beyond what programs write; each is a fraction of a second.
"""

import re
import struct
from collections.abc import Iterator
from io import BytesIO

from app.effort import CountedFile
from app.errors import UndecodablePicture

SMALL = 16 * 1024
"""Bytes; a file up to this size cannot hold enough parts to matter, but for a JPEG's scans."""

PARTS = 16_384
"""A PNG's or WebP's chunks (32 MB in pieces of 2 kB), and a JPEG's segments."""

SCANS = 40
"""Of a JPEG; each goes over all its pixels. Encoders write about 10."""

FILL = b"\xff" * 1024
"""Bytes that mean nothing in a JPEG's scans, and are looked at again whenever more of the file is read."""

TABLES = 1024 * 1024
"""Bytes before a JPEG's first scan that Pillow takes apart one by one: tables, and Photoshop's blocks."""

EXIF = 256 * 1024
"""Bytes of EXIF data."""

COMPRESSED = 128
"""A PNG's compressed texts and profiles, of which each may become a megabyte."""

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

FRAMES, SCAN_MARKER = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xDE), 0xDA
"""What a JPEG's segments begin with that say how large the picture is, and those behind which it is."""

SCAN = re.compile(rb"\xff\xda\0")
"""A scan's begin, whose length is always less than 256; the same bytes may also be elsewhere."""

MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""In a JPEG's scans: neither a byte that is escaped nor a restart."""


def open_file(data: bytes) -> BytesIO:
    """What Pillow may read. Raises UndecodablePicture for more parts than any picture has, or as damage leads to it."""
    if len(data) <= SMALL:
        if data[:1] == b"\xff" and len(SCAN.findall(data)) > SCANS:
            _check_scans(data, 2)
        return BytesIO(data)
    if data[:1] == b"\xff":
        _check_jpeg(data)
    elif data.startswith(b"\x89PNG"):
        _check_png(data)
    elif data.startswith((b"II", b"MM")):
        _check_tiff(data)
    elif data.startswith(b"RIFF") and data.startswith(b"WEBP", 8):
        _check_webp(data)
    return CountedFile(data)


def has_several_scans(data: bytes) -> bool:
    """Whether a JPEG's coefficients are all held until its last scan, be it progressive or not."""
    components, progressive = 0, False
    for marker, at, _ in _segments(data):
        if marker == SCAN_MARKER:
            return progressive or data[at + 4 : at + 5] < bytes((components,))
        if marker in FRAMES:
            components = max(components, *data[at + 9 : at + 10])
            progressive = progressive or marker & 3 == 2
    return False


def _refuse(what: str) -> UndecodablePicture:
    return UndecodablePicture(f"the file has more {what} than any picture")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, place and length of a JPEG's segments up to its first scan's, as Pillow finds them."""
    at = 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        marker = data[at + 1]
        if marker == 0xFF:
            length = 1
        elif marker == 0 or 0xD0 <= marker <= 0xD9 or 0xF0 <= marker <= 0xFD:
            length = 2
        else:
            length = max(4, 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
        yield marker, at, length
        if marker == SCAN_MARKER:
            return
        at += length


def _check_jpeg(data: bytes) -> None:
    tables = exif = 0
    first = len(data)
    for parts, (marker, at, length) in enumerate(_segments(data)):
        if marker == 0xE1 and data.startswith(b"Exif", at + 4):
            exif += length
        elif marker in FRAMES or marker in (0xC4, 0xDB, 0xED):
            tables += length
        elif marker == SCAN_MARKER:
            first = at
        if parts > PARTS or tables > TABLES or exif > EXIF:
            raise _refuse("segments or longer tables")
    if data.find(FILL, first) >= 0 or (has_several_scans(data) and len(SCAN.findall(data, first)) > SCANS):
        _check_scans(data, first)


def _check_scans(data: bytes, at: int) -> None:
    """Only where it may be too many: the same bytes may also be in a segment, or behind the picture."""
    scans = parts = 0
    while True:
        found = MARKER.search(data, at)
        if data.find(FILL, at, found.start() if found else len(data)) >= 0:
            raise _refuse("fill bytes")
        if found is None or found[0] == b"\xff\xd9":
            return
        at, parts = found.start(), parts + 1
        scans += found[0] == b"\xff\xda"
        if scans > SCANS or parts > PARTS:
            raise _refuse("scans")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _check_png(data: bytes) -> None:
    at, parts, compressed, exif = 8, 0, 0, 0
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            break
        parts += 1
        if kind in (b"iCCP", b"zTXt", b"iTXt"):
            compressed += 1
        if kind == b"eXIf" or data.startswith(b"Raw profile type exif", at + 8):
            exif += length
        if parts > PARTS or compressed > COMPRESSED or exif > EXIF:
            raise _refuse("chunks or longer EXIF data")
        at += 12 + length


def _check_webp(data: bytes) -> None:
    at, parts = 12, 0
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        parts += 1
        if parts > PARTS or (kind == b"EXIF" and length > EXIF):
            raise _refuse("chunks or longer EXIF data")
        at += 8 + length + (length & 1)


def _check_tiff(data: bytes) -> None:
    """The first picture's directory, and those it leads to, as Pillow finds them; any error for damage."""
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
            raise _refuse("tags")
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
            raise _refuse("strips, or numbers in its tags,")


def _sum(data: bytes, numbers: str, at: int, big: bool) -> int:
    """Of a tag's numbers, which are in its entry where they have room there; 0 for what is not in the file."""
    if struct.calcsize(numbers) > (8 if big else 4):
        (at,) = struct.unpack_from(numbers[0] + ("Q" if big else "L"), data, at)
    return sum(struct.unpack_from(numbers, data, at)) if at + struct.calcsize(numbers) <= len(data) else 0
