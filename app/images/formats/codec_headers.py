"""How many pixels an AV1 or HEVC decoder decodes from an item's bytes, by their headers.

What a file says elsewhere of a picture's size, its decoder does not ask for: these headers are what it allocates by.
"""

from collections.abc import Iterator

from app.errors import UndecodablePicture
from app.images.formats.bit_reader import Bits
from app.images.formats.limits import too_many

UNITS = 4096
"""An item's units, of which a picture has one to some dozens."""

HEADER = 256
"""Bytes of a sequence's header that are read."""


def av1_pixels(data: bytes) -> int:
    """Pixels of the largest sequence, for each frame, shown or not (AV1 specification, 5.3 and 5.5)."""
    frames = largest = at = units = 0
    while at < len(data):
        units += 1
        if units > UNITS:
            raise too_many("parts")
        kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + extended
        length = len(data) - at
        if sized:
            length, at = _leb128(data, at)
        if kind == 1:
            largest = max(largest, _av1_sequence(Bits(data[at : at + min(length, HEADER)])))
        frames += kind in (3, 6)
        at += length
    return largest * frames


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number, and where what follows is."""
    value = 0
    for i in range(8):
        value |= (data[at + i] & 127) << 7 * i
        if data[at + i] < 128:
            return value, at + i + 1
    raise UndecodablePicture("the picture's header cannot be read")


def _av1_sequence(bits: Bits) -> int:
    bits.take(4)
    if bits.take(1):
        bits.take(5)
    else:
        delay = _av1_timing(bits) if bits.take(1) else 0
        shown = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay and bits.take(1):
                bits.take(2 * delay + 1)
            if shown and bits.take(1):
                bits.take(4)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(across) + 1) * (bits.take(down) + 1)


def _av1_timing(bits: Bits) -> int:
    """Bits of a decoder buffer's delay; 0 where there is no model of one."""
    bits.take(64)
    if bits.take(1):
        bits.golomb()
    if not bits.take(1):
        return 0
    delay = bits.take(5) + 1
    bits.take(32 + 10)
    return delay


def hevc_pixels(data: bytes, configuration: bytes) -> int:
    """Pixels of the largest sequence, for each picture; `configuration` is an hvcC (ISO/IEC 14496-15; H.265, 7.3)."""
    pictures = largest = 0
    for unit in (*_parameters(configuration), *_units(data, (configuration[21] & 3) + 1)):
        kind = unit[0] >> 1 & 63
        if kind == 33:
            largest = max(largest, _hevc_sequence(Bits(unit[2:HEADER].replace(b"\0\0\3", b"\0\0"))))
        pictures += kind < 32 and unit[2:3] >= b"\x80"
    return largest * pictures


def _parameters(configuration: bytes) -> Iterator[bytes]:
    at = 23
    for _ in range(configuration[22]):
        count, at = int.from_bytes(configuration[at + 1 : at + 3], "big"), at + 3
        if count > UNITS:
            raise too_many("parts")
        for _ in range(count):
            length = int.from_bytes(configuration[at : at + 2], "big")
            if length > 2:
                yield configuration[at + 2 : at + 2 + min(length, HEADER)]
            at += 2 + length


def _units(data: bytes, width: int) -> Iterator[bytes]:
    at = units = 0
    while at + width < len(data):
        units += 1
        if units > UNITS:
            raise too_many("parts")
        length, at = int.from_bytes(data[at : at + width], "big"), at + width
        if length > 2:
            yield data[at : at + min(length, HEADER)]
        at += length


def _hevc_sequence(bits: Bits) -> int:
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 88 + 8)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.golomb()
    if bits.golomb() == 3:
        bits.take(1)
    return bits.golomb() * bits.golomb()
