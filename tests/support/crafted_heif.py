"""AVIFs and HEICs put together box by box: ones that nobody has, and ones that would keep a decoder busy."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image
from support.crafted import MEGABYTE, saved


def box(kind: bytes, *content: bytes) -> bytes:
    whole = b"".join(content)
    return struct.pack(">L4s", 8 + len(whole), kind) + whole


def full(kind: bytes, *content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes((version, 0, 0, 0)), *content)


def ispe(width: int, height: int) -> bytes:
    return full(b"ispe", struct.pack(">LL", width, height))


ALPHA = full(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
PIXI = full(b"pixi", b"\3\x08\x08\x08")


@dataclass
class Item:
    kind: bytes
    content: bytes
    properties: Sequence[bytes] = ()
    references: Sequence[tuple[bytes, Sequence[int]]] = ()
    """To items by their numbers, of which the first is 1."""


def heif(
    *items: Item, brand: bytes = b"avif", brands: int = 1, extents: int = 1, behind: bytes = b"", inside: bytes = b""
) -> bytes:
    """The first item is the picture; content that is the same is there once, each item's in so many extents."""
    properties = list(dict.fromkeys(part for item in items for part in item.properties))
    contents = list(dict.fromkeys(item.content for item in items))
    ipma = b"".join(
        struct.pack(">HB", number, len(item.properties))
        + b"".join(struct.pack(">H", 1 + properties.index(part)) for part in item.properties)
        for number, item in enumerate(items, 1)
    )
    references = b"".join(
        box(kind, struct.pack(f">HH{len(to)}H", number, len(to), *to))
        for number, item in enumerate(items, 1)
        for kind, to in item.references
    )

    def meta(start: int) -> bytes:
        places = dict[bytes, int]()
        for content in contents:
            places[content], start = start, start + len(content)
        iloc = b"".join(
            struct.pack(">HHH", number, 0, extents)
            + struct.pack(">LL", places[item.content], len(item.content)) * extents
            for number, item in enumerate(items, 1)
        )
        infe = b"".join(
            full(b"infe", struct.pack(">HH4s", number, 0, item.kind), b"\0", version=2)
            for number, item in enumerate(items, 1)
        )
        return full(
            b"meta",
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(">H", 1)),
            full(b"iloc", b"\x44\0", struct.pack(">H", len(items)), iloc),
            full(b"iinf", struct.pack(">H", len(items)), infe),
            full(b"iref", references) if references else b"",
            box(
                b"iprp",
                box(b"ipco", *properties),
                box(b"ipma", b"\0\0\0\1", struct.pack(">L", len(items)), ipma),
            ),
            inside,
        )

    head = box(b"ftyp", brand, bytes(4), brand * brands, b"mif1miaf")
    data = box(b"mdat", *contents)
    return head + meta(len(head) + len(meta(0)) + 8) + data + behind


def part(data: bytes, kind: bytes) -> bytes:
    """The whole first box of a kind."""
    at = data.index(kind) - 4
    return data[at : at + int.from_bytes(data[at : at + 4], "big")]


@cache
def av1(width: int, height: int) -> tuple[bytes, bytes]:
    """A gray picture, and its configuration."""
    whole = saved(Image.new("RGB", (width, height), "gray"), "AVIF", speed=10, quality=50)
    return part(whole, b"mdat")[8:], part(whole, b"av1C")


def avif(
    width: int = 64, height: int = 64, size: tuple[int, int] | None = None, repeated: int = 1, before: bytes = b""
) -> Item:
    """Announced as of a size that its content need not have, with this before it."""
    content, configuration = av1(width, height)
    return Item(b"av01", before + content * repeated, (ispe(*(size or (width, height))), PIXI, configuration))


def av1_of_own_size(width: int, height: int, announced: int = 16) -> Item:
    """A frame with a size of its own, in a sequence that announces a small square."""
    image = Image.new("L", (width, height), "gray")
    whole = saved(image, "AVIF", speed=10, quality=50, save_all=True, append_images=[image])
    sequence, frame = map(bits, obus(part(whole, b"mdat")[8:])[1:3])
    at = 29 + (int(sequence[24:29], 2) > 7)  # behind the level, and the tier that high levels have
    assert sequence[at : at + 8] == 2 * "1011"  # 12 bits each, so that a frame's size fills whole bytes
    sequence = sequence[: at + 8] + 2 * f"{announced - 1:012b}" + sequence[at + 8 + 24 :]
    flag = 6 + int(frame[5])  # frame_size_override_flag, behind what is only there for screen content
    assert frame[:4] + frame[flag] == "00010"  # shown, a key frame
    size = f"{width - 1:012b}{height - 1:012b}"
    frame = frame[:flag] + "1" + frame[flag + 1 : flag + 8] + size + frame[flag + 8 :]  # behind 7 bits of order_hint
    content = obu(1, packed(sequence)) + obu(6, packed(frame))
    return Item(b"av01", content, (ispe(announced, announced), PIXI, part(whole, b"av1C")))


def av1_redundant(width: int, height: int) -> Item:
    """Its frame is called the repetition of one, which a decoder takes for the first if there was none."""
    _, sequence, frame = obus(av1(width, height)[0])
    return Item(b"av01", obu(1, sequence) + obu(7, frame), avif().properties)


def obus(data: bytes) -> list[bytes]:
    """The content of AV1's units. Pillow writes a temporal delimiter, a sequence header and a frame."""
    found, at = list[bytes](), 0
    while at < len(data):
        length, at = data[at + 1], at + 2
        if length > 127:
            length, at = length & 127 | data[at] << 7, at + 1
        found.append(data[at : at + length])
        at += length
    return found


def obu(kind: int, content: bytes) -> bytes:
    return bytes((kind << 3 | 2, len(content) & 127 | 128, len(content) >> 7)) + content


def bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def packed(text: str) -> bytes:
    return bytes(int(text[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(text), 8))


def exp_golomb(value: int) -> str:
    return f"{value + 1:b}".zfill(2 * (value + 1).bit_length() - 1)


def hvcc(*units: bytes, length_bytes: int = 4) -> bytes:
    """A configuration with these parameter sets."""
    sets = b"".join(struct.pack(">BHH", unit[0] >> 1, 1, len(unit)) + unit for unit in units)
    return box(b"hvcC", bytes(21), bytes((0xFC | length_bytes - 1, len(units))), sets)


def sequence_set(width: int, height: int) -> bytes:
    """An HEVC sequence parameter set up to the size of its pictures."""
    size = exp_golomb(width) + exp_golomb(height)
    return b"\x42\1" + packed("00000001" + 96 * "1" + exp_golomb(0) + exp_golomb(1) + size)


SLICE = b"\0\0\0\4\x26\1\x80\x80"
"""The first of an HEVC picture, with nothing in it."""


def hevc(width: int = 64, height: int = 64, empty: int = 0, configurations: int = 1) -> Item:
    """A picture without content, in so many empty units, configured so many times."""
    configuration = hvcc(sequence_set(width, height))
    return Item(b"hvc1", bytes(4 * empty) + SLICE, (ispe(width, height), *[configuration] * configurations))


def grid(columns: int, rows: int, tile: Item, width: int, height: int) -> bytes:
    """All tiles are the same."""
    return grid_of([tile] * (columns * rows), columns, width, height)


def grid_of(tiles: Sequence[Item], columns: int, width: int, height: int, once: bool = False) -> bytes:
    """If `once`, the first tile is the only one in the file."""
    numbers = [2 if once else i for i in range(2, 2 + len(tiles))]
    shape = bytes((0, 0, len(tiles) // columns - 1, columns - 1)) + struct.pack(">HH", width, height)
    whole = Item(b"grid", shape, (ispe(width, height), PIXI), [(b"dimg", numbers)])
    return heif(whole, *tiles[: 1 if once else None], brand=b"heic" if tiles[0].kind == b"hvc1" else b"avif")


def film(samples: int) -> bytes:
    """A track that says it has so many samples."""
    sizes = full(b"stsz", struct.pack(">LL", 1, samples))
    table = box(b"stbl", sizes, full(b"stsc", struct.pack(">LLLL", 1, 1, samples, 1)), full(b"stco", bytes(8)))
    return box(b"moov", box(b"trak", box(b"mdia", box(b"minf", table))))


def replaced(kind: bytes, new: bytes) -> bytes:
    """A picture with another box instead of that in its header."""
    whole = heif(avif())
    meta, old = part(whole, b"meta"), part(whole, kind)
    return whole.replace(meta, box(b"meta", meta[8:].replace(old, new)))


def of_empty_places(count: int) -> bytes:
    """Says where so many items are: nowhere."""
    old = part(heif(avif()), b"iloc")
    entries = struct.pack(">LH", 1, 0) + old[18:] + struct.pack(">LHHH", 2, 0, 0, 0) * count
    return replaced(b"iloc", full(b"iloc", b"\x44\0", struct.pack(">L", 1 + count), entries, version=2))


def of_empty_associations(count: int) -> bytes:
    old = part(heif(avif()), b"iprp")
    entries = full(b"ipma", struct.pack(">L", count), struct.pack(">HB", 2, 0) * count)
    return replaced(b"iprp", box(b"iprp", old[8:], entries))


def of_property_lists(count: int) -> bytes:
    old = part(heif(avif()), b"iprp")
    return replaced(b"iprp", box(b"iprp", box(b"ipco", box(b"free") * 4096) * count, old[8:]))


def of_extents_outside(count: int) -> bytes:
    """An extent far behind the end, whose length is below zero if it is cut off there, and the whole file so often."""
    spans = struct.pack(">QQ", 1 << 60, 1) + bytes(16) * count
    entries = struct.pack(">HHHH", 1, 1, 0, 1 + count) + spans
    return replaced(b"iloc", full(b"iloc", b"\x88\0", entries)) + bytes(MEGABYTE)


def of_unused(kind: bytes, count: int) -> bytes:
    return heif(avif(), *[Item(kind, b"x")] * count)


CRAFTED: dict[str, Callable[[], bytes]] = {
    "announced as huge": lambda: heif(avif(size=(16_000, 16_000))),
    "announced as small": lambda: heif(avif(8000, 4000, size=(64, 64))),
    "a grid of large tiles": lambda: grid(9, 9, avif(1024, 1024), 9 * 1024, 9 * 1024),
    "a grid of too many tiles": lambda: grid(40, 40, avif(), 40 * 64, 40 * 64),
    "a grid announced as small": lambda: grid(9, 9, avif(1024, 1024, size=(64, 64)), 9 * 64, 9 * 64),
    "a grid of grids": lambda: heif(
        Item(b"grid", b"\0\0\0\0\0\x40\0\x40", (ispe(64, 64), PIXI), [(b"dimg", [1])]), avif()
    ),
    "a picture laid over itself": lambda: heif(
        Item(b"iovl", bytes(24), (ispe(64, 64), PIXI), [(b"dimg", [2] * 500)]), avif()
    ),
    "many frames": lambda: heif(avif(1024, 1024, repeated=500)),
    "transparency of another size": lambda: heif(
        avif(), Item(b"av01", av1(8000, 8000)[0], (ispe(64, 64), ALPHA, av1(8000, 8000)[1]), [(b"auxl", [1])])
    ),
    "many items": lambda: of_unused(b"av01", 60_000),
    "the same bytes in many extents": lambda: heif(avif(1024, 1024), Item(b"mime", bytes(20_000)), extents=60_000),
    "much EXIF data": lambda: heif(avif(), Item(b"Exif", bytes(20 * MEGABYTE), (), [(b"cdsc", [1])])),
    "much metadata": lambda: heif(
        avif(), *[Item(b"mime", bytes(1 * MEGABYTE) + bytes((i,)), (), [(b"cdsc", [1])]) for i in range(20)]
    ),
    "boxes without content": lambda: heif(avif(), behind=box(b"free") * 3_000_000),
    "boxes without content inside": lambda: heif(avif(), inside=box(b"free") * 3_000_000),
    "a picture of nothing": lambda: heif(Item(b"av01", b"\x12\0" * 5 * MEGABYTE, avif().properties)),
    "a grid of one tile many times": lambda: grid_of(
        [avif(before=b"\x12\0" * 4000)] * 1023, 33, 33 * 64, 31 * 64, once=True
    ),
    "a grid of one tile many times, HEIC": lambda: grid_of(
        [hevc(empty=3000, configurations=10)] * 1023, 33, 33 * 64, 31 * 64, once=True
    ),
    "tiles of many units": lambda: grid_of(
        [avif(before=b"\x12\0" * (3000 + i)) for i in range(1023)], 33, 33 * 64, 31 * 64
    ),
    "tiles of many configurations": lambda: grid_of(
        [hevc(empty=4000 + i, configurations=250) for i in range(20)], 5, 5 * 64, 4 * 64
    ),
    "places of nothing": lambda: of_empty_places(3_000_000),
    "associations of nothing": lambda: of_empty_associations(10_000_000),
    "many lists of properties": lambda: of_property_lists(900),
    "extents outside the file": lambda: of_extents_outside(500),
    "what it is for is long": lambda: heif(
        avif(), Item(b"av01", av1(64, 64)[0], [full(b"auxC", bytes(2 * MEGABYTE))] * 250, [(b"auxl", [1])])
    ),
    "many brands": lambda: heif(avif(), brand=b"avis", brands=7 * MEGABYTE, behind=film(1)),
    "a film alone": lambda: box(b"ftyp", b"avis", bytes(4), b"avis") + film(2_000_000),
    "no picture": lambda: box(b"ftyp", b"avif", bytes(4), b"avif"),
    "another codec": lambda: heif(Item(b"vvc1", b"x", (ispe(64, 64),))),
}
"""All are refused."""

TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "a frame of its own size": lambda: heif(av1_of_own_size(4096, 4096)),
    "a redundant frame header": lambda: heif(av1_redundant(8000, 4000)),
}
"""Have more pixels than they announce."""

ANSWERED: dict[str, Callable[[], bytes]] = {
    "one item": lambda: heif(avif()),
    "another brand": lambda: heif(avif(), brand=b"mif1"),
    "a grid": lambda: grid(4, 3, avif(256, 256), 1000, 760),
    "items that are not shown": lambda: of_unused(b"abcd", 100),
    "a film beside it": lambda: heif(avif(), brand=b"avis", behind=film(2_000_000)),
}
