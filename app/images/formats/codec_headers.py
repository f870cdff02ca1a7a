"""Counts the pixels that an AV1 or HEVC decoder will decode, from the sequence headers in the compressed data.

The decoder allocates its memory by these headers. The sizes given elsewhere in the file may be wrong.
"""

from collections.abc import Iterator

from app.errors import UndecodablePicture
from app.images.formats.limits import too_many

MAX_UNITS = 4096
"""OBUs or NAL units in an item. A picture has one to some dozens."""

HEADER_BYTES = 256
"""Bytes of a sequence header that are read."""


class BitReader:
    """Reads unsigned numbers bit by bit, the highest bit first. Raises IndexError after the last bit."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, bits: int) -> int:
        self._left -= bits
        if self._left < 0:
            raise IndexError("the header ends early")
        return self._value >> self._left & (1 << bits) - 1

    def read_exp_golomb(self) -> int:
        """An Exp-Golomb code: ue(v) in HEVC, uvlc() in AV1."""
        zeros = 0
        while zeros < 32 and not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)


def av1_pixels(data: bytes) -> int:
    """Pixels of the largest sequence times the number of frames, shown or not (AV1 specification, 5.3 and 5.5)."""
    frames = largest = at = units = 0
    while at < len(data):
        units += 1
        if units > MAX_UNITS:
            raise too_many("parts")
        kind, has_extension, has_size = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + has_extension
        length = len(data) - at
        if has_size:
            length, at = _leb128(data, at)
        if kind == 1:  # sequence header
            largest = max(largest, _av1_sequence_pixels(data[at : at + min(length, HEADER_BYTES)]))
        frames += kind in (3, 6)  # frame header, frame
        at += length
    return largest * frames


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number, and the offset after it."""
    value = 0
    for i in range(8):
        value |= (data[at + i] & 127) << 7 * i
        if data[at + i] < 128:
            return value, at + i + 1
    raise UndecodablePicture("the picture's header cannot be read")


def _av1_sequence_pixels(header: bytes) -> int:
    bits = BitReader(header)
    bits.read(4)
    if bits.read(1):  # reduced_still_picture_header
        bits.read(5)
    else:
        delay_bits = _av1_delay_bits(bits) if bits.read(1) else 0
        has_display_delay = bits.read(1)
        for _ in range(bits.read(5) + 1):  # operating points
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)
            if delay_bits and bits.read(1):
                bits.read(2 * delay_bits + 1)
            if has_display_delay and bits.read(1):
                bits.read(4)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return (bits.read(width_bits) + 1) * (bits.read(height_bits) + 1)


def _av1_delay_bits(bits: BitReader) -> int:
    """Reads timing_info and decoder_model_info. Returns the bits of a buffer delay, 0 without a decoder model."""
    bits.read(64)
    if bits.read(1):
        bits.read_exp_golomb()
    if not bits.read(1):
        return 0
    delay_bits = bits.read(5) + 1
    bits.read(32 + 10)
    return delay_bits


def hevc_pixels(data: bytes, configuration: bytes) -> int:
    """Pixels of the largest sequence times the number of pictures (ITU-T H.265, 7.3).

    `configuration` is the content of an hvcC box (ISO/IEC 14496-15).
    """
    pictures = largest = 0
    for unit in (*_parameter_sets(configuration), *_nal_units(data, (configuration[21] & 3) + 1)):
        kind = unit[0] >> 1 & 63
        if kind == 33:  # sequence parameter set
            largest = max(largest, _hevc_sequence_pixels(unit[2:HEADER_BYTES].replace(b"\0\0\3", b"\0\0")))
        pictures += kind < 32 and unit[2:3] >= b"\x80"  # the first slice of a picture
    return largest * pictures


def _parameter_sets(configuration: bytes) -> Iterator[bytes]:
    at = 23
    for _ in range(configuration[22]):
        count, at = int.from_bytes(configuration[at + 1 : at + 3], "big"), at + 3
        if count > MAX_UNITS:
            raise too_many("parts")
        for _ in range(count):
            length = int.from_bytes(configuration[at : at + 2], "big")
            if length > 2:
                yield configuration[at + 2 : at + 2 + min(length, HEADER_BYTES)]
            at += 2 + length


def _nal_units(data: bytes, length_bytes: int) -> Iterator[bytes]:
    at = units = 0
    while at + length_bytes < len(data):
        units += 1
        if units > MAX_UNITS:
            raise too_many("parts")
        length, at = int.from_bytes(data[at : at + length_bytes], "big"), at + length_bytes
        if length > 2:
            yield data[at : at + min(length, HEADER_BYTES)]
        at += length


def _hevc_sequence_pixels(header: bytes) -> int:
    bits = BitReader(header)
    bits.read(4)
    sub_layers = bits.read(3)
    bits.read(1 + 88 + 8)
    present = [(bits.read(1), bits.read(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.read(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.read(88 * has_profile + 8 * has_level)
    bits.read_exp_golomb()
    if bits.read_exp_golomb() == 3:  # chroma_format_idc
        bits.read(1)
    return bits.read_exp_golomb() * bits.read_exp_golomb()
