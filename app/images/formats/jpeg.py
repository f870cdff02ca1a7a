"""A JPEG's segments and scans."""

import re
from collections.abc import Iterator

from app.images.formats.limits import EXIF, PARTS, too_many

SCANS = 40
"""Of a JPEG; each goes over all its pixels. Encoders write about 10."""

FILL = b"\xff" * 1024
"""Bytes that mean nothing in a JPEG's scans, and are looked at again whenever more of the file is read."""

TABLES = 1024 * 1024
"""Bytes before a JPEG's first scan that Pillow takes apart one by one: tables, and Photoshop's blocks."""

FRAMES, SCAN_MARKER = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xDE), 0xDA
"""What a JPEG's segments begin with that say how large the picture is, and those behind which it is."""

SCAN = re.compile(rb"\xff\xda\0")
"""A scan's begin, whose length is always less than 256; the same bytes may also be elsewhere."""

MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""In a JPEG's scans: neither a byte that is escaped nor a restart."""


def check(data: bytes) -> None:
    """Raises UndecodablePicture for more segments, tables, EXIF data, fill bytes or scans than any picture has."""
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
            raise too_many("segments or longer tables")
    if data.find(FILL, first) >= 0 or (has_several_scans(data) and len(SCAN.findall(data, first)) > SCANS):
        check_scans(data, first)


def check_scans(data: bytes, at: int) -> None:
    """Raises UndecodablePicture for more scans or fill bytes from there on than any picture has.

    Only for where it may be too many: the same bytes may also be in a segment, or behind the picture.
    """
    scans = parts = 0
    while True:
        found = MARKER.search(data, at)
        if data.find(FILL, at, found.start() if found else len(data)) >= 0:
            raise too_many("fill bytes")
        if found is None or found[0] == b"\xff\xd9":
            return
        at, parts = found.start(), parts + 1
        scans += found[0] == b"\xff\xda"
        if scans > SCANS or parts > PARTS:
            raise too_many("scans")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


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


def has_every_scan(data: bytes) -> bool:
    """Whether a JPEG's scans begun in the file bring every coefficient of every component to its last bit."""
    components, missing, at = 0, 0, len(data)
    for marker, at, _ in _segments(data):
        if marker in FRAMES:
            components = max(components, *data[at + 9 : at + 10])
            missing = 64 * components
    done = set[tuple[int, int]]()
    for _ in range(SCANS):
        at = data.find(b"\xff\xda", at)
        header = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if at < 0 or len(header) < 6 or len(header) != 2 * header[0] + 4:
            break
        first, last, bits = header[-3:]
        if bits & 15 == 0:
            done |= {(c, k) for c in header[1:-3:2] for k in range(first, min(last, 63) + 1)}
        at += 2
    return len(done) >= missing > 0


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
