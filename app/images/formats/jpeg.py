"""Structural check of a JPEG (ITU-T T.81): counts segments and scans. Also tells how the coefficients are stored."""

import re
from collections.abc import Iterator

from app.errors import UndecodablePicture
from app.images.formats.limits import MAX_EXIF_BYTES, MAX_PARTS, too_many

MAX_SCANS = 40
"""The decoder goes over all pixels in each scan. Encoders write about 10 scans."""

MAX_SCANNED_SAMPLES = 1_700_000_000
"""Samples of all scans together: 21 scans of 80 million samples."""

ARITHMETIC_CODING = (*range(0xC9, 0xCC), *range(0xCD, 0xD0))
"""Markers of frames that take seconds to decode, whatever data follows. No camera, browser or editor writes them."""

TOO_MANY_FILL_BYTES = b"\xff" * 1024
"""Fill bytes between scans mean nothing. The decoder looks at them again after each read from the file."""

MAX_TABLE_BYTES = 1024 * 1024
"""Tables and Photoshop blocks before the first scan, which Pillow parses one by one."""

START_OF_FRAME = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xDE)
"""Markers of the segments with the size of the picture."""

START_OF_SCAN = 0xDA
HUFFMAN_TABLE, QUANTIZATION_TABLE, PHOTOSHOP, EXIF = 0xC4, 0xDB, 0xED, 0xE1

SCAN_START = re.compile(rb"\xff\xda\0")
"""The marker of a scan and the high byte of its header's length, always zero. Other data may contain the same bytes."""

MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
"""A marker between scans: neither an escaped byte nor a restart marker."""


def check(data: bytes) -> None:
    """Raises UndecodablePicture for more segments, tables, EXIF data, fill bytes or scans than any picture has."""
    tables = exif = 0
    first_scan = len(data)
    for parts, (marker, at, length) in enumerate(_segments(data)):
        if marker == EXIF and data.startswith(b"Exif", at + 4):
            exif += length
        elif marker in ARITHMETIC_CODING:
            raise UndecodablePicture("arithmetic coding of JPEG is not supported")
        elif marker in START_OF_FRAME or marker in (HUFFMAN_TABLE, QUANTIZATION_TABLE, PHOTOSHOP):
            tables += length
        elif marker == START_OF_SCAN:
            first_scan = at
        if parts > MAX_PARTS or tables > MAX_TABLE_BYTES or exif > MAX_EXIF_BYTES:
            raise too_many("segments or longer tables")
    has_fill_bytes = data.find(TOO_MANY_FILL_BYTES, first_scan) >= 0
    max_scans = _max_scans(data)
    if has_fill_bytes or (has_several_scans(data) and len(SCAN_START.findall(data, first_scan)) > max_scans):
        _check_scans(data, first_scan, max_scans)


def check_small_file(data: bytes) -> None:
    """Raises UndecodablePicture for what takes long in a small file, too: many scans, and arithmetic coding."""
    if any(marker in ARITHMETIC_CODING for marker, *_ in _segments(data)):
        raise UndecodablePicture("arithmetic coding of JPEG is not supported")
    if len(SCAN_START.findall(data)) > (max_scans := _max_scans(data)):
        _check_scans(data, 2, max_scans)


def _max_scans(data: bytes) -> int:
    """Scans that the picture may have, by its size."""
    samples = 1
    for marker, at, _ in _segments(data):
        if marker in START_OF_FRAME:
            height, width = int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9])
            samples = max(samples, height * width * (data[at + 9] if at + 9 < len(data) else 1))
    return max(1, min(MAX_SCANS, MAX_SCANNED_SAMPLES // samples))


def _check_scans(data: bytes, at: int, max_scans: int) -> None:
    """Parses the markers from there on. Raises UndecodablePicture for too many scans or fill bytes.

    Needed only if a simple search finds too many: a segment, or data after the picture, may contain the same bytes.
    """
    scans = parts = 0
    while True:
        found = MARKER.search(data, at)
        if data.find(TOO_MANY_FILL_BYTES, at, found.start() if found else len(data)) >= 0:
            raise too_many("fill bytes")
        if found is None or found[0] == b"\xff\xd9":
            return
        at, parts = found.start(), parts + 1
        scans += found[0] == b"\xff\xda"
        if scans > max_scans or parts > MAX_PARTS:
            raise too_many("scans")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def has_several_scans(data: bytes) -> bool:
    """Whether it is progressive or has a scan for each component. The decoder holds all coefficients of such a file."""
    components, progressive = 0, False
    for marker, at, _ in _segments(data):
        if marker == START_OF_SCAN:
            return progressive or data[at + 4 : at + 5] < bytes((components,))
        if marker in START_OF_FRAME:
            components = max(components, *data[at + 9 : at + 10])
            progressive = progressive or marker & 3 == 2
    return False


def has_all_coefficients(data: bytes) -> bool:
    """Whether the scans that begin in the file cover every coefficient of every component to its last bit."""
    components, missing, at = 0, 0, len(data)
    for marker, at, _ in _segments(data):
        if marker in START_OF_FRAME:
            components = max(components, *data[at + 9 : at + 10])
            missing = 64 * components
    covered = set[tuple[int, int]]()
    for _ in range(MAX_SCANS):
        at = data.find(b"\xff\xda", at)
        header = data[at + 4 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if at < 0 or len(header) < 6 or len(header) != 2 * header[0] + 4:
            break
        first, last, bits = header[-3:]
        if bits & 15 == 0:
            covered |= {(component, k) for component in header[1:-3:2] for k in range(first, min(last, 63) + 1)}
        at += 2
    return len(covered) >= missing > 0


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, offset and length of the segments up to the header of the first scan, as Pillow finds them."""
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
        if marker == START_OF_SCAN:
            return
        at += length
