"""Counts the pixels that an AV1 or HEVC decoder will decode, from the headers in the compressed data.

The decoder allocates its memory by these headers. The sizes given elsewhere in the file may be wrong. The headers are
read as dav1d and libde265 read them, so that a file cannot say one thing here and another there.
"""

from collections.abc import Iterator
from typing import NamedTuple

from app.errors import UndecodablePicture
from app.images.formats.limits import too_many

MAX_UNITS = 8192
"""OBUs and NAL units of all items in a file. A phone's picture of 48 megapixels has 800: a slice for each of 200 tiles,
with three parameter sets each time."""

HEADER_BYTES = 256
"""Bytes of a header that are read."""

KEY_FRAME, SWITCH_FRAME = 0, 3
"""Types of an AV1 frame."""

CHOSEN_BY_FRAME = 2
"""A feature of AV1 that each frame switches on or off. 0 and 1 are for the whole sequence."""


class UnitLimit:
    """Counts the units of a file. All its items share one, because the same bytes may be in several items."""

    def __init__(self) -> None:
        self._left = MAX_UNITS

    def count(self) -> None:
        """Raises UndecodablePicture for more units than any picture has."""
        self._left -= 1
        if self._left < 0:
            raise too_many("parts")


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
        """An Exp-Golomb code: ue(v) in HEVC, uvlc() in AV1. No decoder takes one of more than 63 bits."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 31:
                raise UndecodablePicture("the picture's header cannot be read")
        return (1 << zeros) - 1 + self.read(zeros)


class Av1Sequence(NamedTuple):
    """What a sequence header says about its frames (AV1 specification, 5.5)."""

    pixels: int
    """Of a frame that does not give a size of its own."""
    max_pixels: int
    """Of a frame that gives a size of its own, which dav1d does not compare with the sequence's."""
    is_reduced: bool
    """Whether frames have a short header, without a size."""
    time_bits: int
    """Length of the presentation time of a shown frame."""
    id_bits: int
    screen_content: int
    """0, 1 or CHOSEN_BY_FRAME."""
    integer_vectors: int
    """0, 1 or CHOSEN_BY_FRAME."""


def av1_pixels(data: bytes, units: UnitLimit) -> int:
    """Pixels of all frames, shown or not (AV1 specification, 5.3)."""
    sequence: Av1Sequence | None = None
    pixels = at = 0
    while at < len(data):
        units.count()
        kind, has_extension, has_size = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + has_extension
        length = len(data) - at
        if has_size:
            length, at = _leb128(data, at)
        header = data[at : at + min(length, HEADER_BYTES)]
        if kind == 1:  # sequence header
            sequence = _read_av1_sequence(header)
        elif kind in (3, 6, 7):  # frame header, frame, redundant frame header
            if sequence is None:
                raise UndecodablePicture("the picture's header cannot be read")
            pixels += _av1_frame_pixels(header, sequence)
        at += length
    return pixels


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number, and the offset after it."""
    value = 0
    for i in range(8):
        value |= (data[at + i] & 127) << 7 * i
        if data[at + i] < 128:
            return value, at + i + 1
    raise UndecodablePicture("the picture's header cannot be read")


def _read_av1_sequence(header: bytes) -> Av1Sequence:
    bits = BitReader(header)
    bits.read(4)
    delay_bits = time_bits = 0
    if is_reduced := bool(bits.read(1)):  # reduced_still_picture_header
        bits.read(5)
    else:
        if bits.read(1):
            delay_bits, time_bits = _read_av1_timing(bits)
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
    pixels = (bits.read(width_bits) + 1) * (bits.read(height_bits) + 1)
    id_bits, screen_content, integer_vectors = (0, 0, 0) if is_reduced else _read_av1_tools(bits)
    return Av1Sequence(
        pixels, 1 << width_bits + height_bits, is_reduced, time_bits, id_bits, screen_content, integer_vectors
    )


def _read_av1_timing(bits: BitReader) -> tuple[int, int]:
    """Reads timing_info and decoder_model_info: the bits of a buffer delay and of a presentation time, or 0."""
    bits.read(64)
    if has_equal_intervals := bits.read(1):
        bits.read_exp_golomb()
    if not bits.read(1):
        return 0, 0
    delay_bits = bits.read(5) + 1
    bits.read(32 + 5)
    time_bits = bits.read(5) + 1
    return delay_bits, 0 if has_equal_intervals else time_bits


def _read_av1_tools(bits: BitReader) -> tuple[int, int, int]:
    """The bits of a frame's identifier, whether screen content has tools, and whether motion vectors are integers."""
    id_bits = bits.read(4) + bits.read(3) + 3 if bits.read(1) else 0
    bits.read(7)
    if bits.read(1):  # enable_order_hint
        bits.read(2)
    screen_content = CHOSEN_BY_FRAME if bits.read(1) else bits.read(1)
    if not screen_content:
        return id_bits, 0, 0
    return id_bits, screen_content, CHOSEN_BY_FRAME if bits.read(1) else bits.read(1)


def _av1_frame_pixels(header: bytes, sequence: Av1Sequence) -> int:
    """Pixels of the frame, at most (AV1 specification, 5.9.2)."""
    bits = BitReader(header)
    if sequence.is_reduced or bits.read(1):  # show_existing_frame
        return sequence.pixels
    kind, is_shown = bits.read(2), bits.read(1)
    bits.read(sequence.time_bits if is_shown else 1)
    if kind != SWITCH_FRAME and not (kind == KEY_FRAME and is_shown):
        bits.read(1)  # error_resilient_mode
    bits.read(1)
    screen_content = bits.read(1) if sequence.screen_content == CHOSEN_BY_FRAME else sequence.screen_content
    if screen_content and sequence.integer_vectors == CHOSEN_BY_FRAME:
        bits.read(1)
    bits.read(sequence.id_bits)
    has_own_size = kind == SWITCH_FRAME or bits.read(1)
    return sequence.max_pixels if has_own_size else sequence.pixels


def hevc_pixels(data: bytes, configuration: bytes, units: UnitLimit) -> int:
    """Pixels of the largest sequence times the number of pictures (ITU-T H.265, 7.3).

    `configuration` is the content of an hvcC box (ISO/IEC 14496-15).
    """
    if configuration[21] & 3 != 3:  # the length of lengths, which libheif takes for four bytes whatever is said here
        raise UndecodablePicture("the picture's header cannot be read")
    pictures = largest = 0
    for unit in (*_parameter_sets(configuration, units), *_nal_units(data, units)):
        kind = unit[0] >> 1 & 63
        if kind == 33:  # sequence parameter set
            largest = max(largest, _hevc_sequence_pixels(unit[2:HEADER_BYTES].replace(b"\0\0\3", b"\0\0")))
        pictures += kind < 32 and unit[2:3] >= b"\x80"  # the first slice of a picture
    return largest * pictures


def _parameter_sets(configuration: bytes, units: UnitLimit) -> Iterator[bytes]:
    at = 23
    for _ in range(configuration[22]):
        count, at = int.from_bytes(configuration[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            units.count()
            length, at = int.from_bytes(configuration[at : at + 2], "big"), at + 2
            if length > 2:
                yield configuration[at : at + min(length, HEADER_BYTES)]
            at += length


def _nal_units(data: bytes, units: UnitLimit) -> Iterator[bytes]:
    at = 0
    while at + 4 < len(data):
        units.count()
        length, at = int.from_bytes(data[at : at + 4], "big"), at + 4
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
