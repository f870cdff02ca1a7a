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


def heif(*items: Item, brand: bytes = b"avif", extents: int = 1, behind: bytes = b"", inside: bytes = b"") -> bytes:
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

    head = box(b"ftyp", brand, bytes(4), brand, b"mif1miaf")
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


def avif(width: int = 64, height: int = 64, size: tuple[int, int] | None = None, repeated: int = 1) -> Item:
    """Announced as of a size that its content need not have."""
    content, configuration = av1(width, height)
    return Item(b"av01", content * repeated, (ispe(*(size or (width, height))), PIXI, configuration))


def grid(columns: int, rows: int, tile: Item, width: int, height: int) -> bytes:
    """All tiles are the same."""
    numbers = range(2, 2 + columns * rows)
    shape = bytes((0, 0, rows - 1, columns - 1)) + struct.pack(">HH", width, height)
    return heif(Item(b"grid", shape, (ispe(width, height), PIXI), [(b"dimg", list(numbers))]), *[tile for _ in numbers])


def film(samples: int) -> bytes:
    """A track that says it has so many samples."""
    sizes = full(b"stsz", struct.pack(">LL", 1, samples))
    table = box(b"stbl", sizes, full(b"stsc", struct.pack(">LLLL", 1, 1, samples, 1)), full(b"stco", bytes(8)))
    return box(b"moov", box(b"trak", box(b"mdia", box(b"minf", table))))


def of_unused(kind: bytes, count: int) -> bytes:
    return heif(avif(), *[Item(kind, b"x") for _ in range(count)])


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
    "a film alone": lambda: box(b"ftyp", b"avis", bytes(4), b"avis") + film(2_000_000),
    "no picture": lambda: box(b"ftyp", b"avif", bytes(4), b"avif"),
    "another codec": lambda: heif(Item(b"vvc1", b"x", (ispe(64, 64),))),
}
"""All are refused."""

ANSWERED: dict[str, Callable[[], bytes]] = {
    "one item": lambda: heif(avif()),
    "another brand": lambda: heif(avif(), brand=b"mif1"),
    "a grid": lambda: grid(4, 3, avif(256, 256), 1000, 760),
    "items that are not shown": lambda: of_unused(b"abcd", 100),
    "a film beside it": lambda: heif(avif(), brand=b"avis", behind=film(2_000_000)),
}
