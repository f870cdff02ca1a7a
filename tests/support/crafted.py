"""Files of very many parts, each a few of them that cost a reader much: none of them is a picture anybody has."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image
from support.pictures import png_chunk

MEGABYTE = 1 << 20

EMPTY_BLOCKS = bytes.fromhex(
    "04c081000000000090ff6a24000e040000000080fc57230170200000000000e4bf1a098003010000000020ffd548001c08000000"
    "0000f9af4602e0400000000000c87f35120007020000000040feab910038100000000000f25f8d"
)
"""Eight of deflate's, each with codes of its own and nothing in them."""

FRACTION = struct.pack("<LL", 4294967291, 4294967279)

Tags = Mapping[int, tuple[int, int, bytes]]
"""A TIFF's: type, how many values, and the values."""


def number(value: int, order: str = "<") -> tuple[int, int, bytes]:
    return 4, 1, struct.pack(order + "L", value)


def tiff(tags: Tags, data: bytes = bytes(4096), order: str = "<", big: bool = False, at: int = 0) -> bytes:
    """64×64, gray and uncompressed unless the tags say otherwise; `data` is at `at`, or behind all else."""
    usual = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 277: 1, 278: 64}
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        order + ("HHHQ" if big else "HL"), *((43, 8, 0, 16) if big else (42, 8))
    )
    entry, room, address = ("HHQ", 8, "Q") if big else ("HHL", 4, "L")
    full = {tag: number(value, order) for tag, value in usual.items()} | dict(tags)
    strips = not full.keys() & {273, 324}
    count = struct.pack(order + ("Q" if big else "H"), len(full) + strips)
    end = len(head) + len(count) + (len(full) + strips) * (struct.calcsize("<" + entry) + room) + room
    behind = end + sum(len(values) for _, _, values in full.values() if len(values) > room)
    if strips:
        full[273] = number(behind, order)
    entries = extra = b""
    for tag, (kind, length, values) in sorted(full.items()):
        held = values
        if len(values) > room:
            held = struct.pack(order + address, end + len(extra))
            extra += values
        entries += struct.pack(order + entry, tag, kind, length) + held.ljust(room, b"\0")
    return (head + count + entries + bytes(room) + extra).ljust(at, b"\0") + data


def png(before: bytes = b"", after: bytes = b"", deflated: bytes = zlib.compress(bytes(64 * 65))) -> bytes:
    """64×64 gray with these chunks before its data and behind it."""
    head = struct.pack(">LL", 64, 64) + bytes((8, 0, 0, 0, 0))
    data = png_chunk(b"IDAT", deflated)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + before + data + after + png_chunk(b"IEND", b"")


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)  # type: ignore[arg-type]
    return file.getvalue()


def segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(before: bytes = b"", behind: bytes = b"", size: tuple[int, int] = (64, 64)) -> bytes:
    """Progressive and gray, with this before all segments, and this behind the last scan."""
    whole = saved(Image.new("L", size, 128), "JPEG", progressive=True)
    return whole[:2] + before + whole[2:-2] + behind + whole[-2:]


def baseline_scans(size: tuple[int, int]) -> bytes:
    """A baseline JPEG with a scan for each of three components, all empty."""
    whole = saved(Image.new("RGB", size), "JPEG")
    scans = b"".join(segment(0xDA, bytes((1, component, 0, 0, 63, 0))) + b"\0" for component in (1, 2, 3))
    return whole[: whole.index(b"\xff\xda")] + scans + b"\xff\xd9"


def exif(fractions: int) -> bytes:
    """Upside down, and with that many fractions."""
    tags = struct.pack("<HHHLHH", 2, 0x112, 3, 1, 3, 0) + struct.pack("<HHLL", 50000, 5, fractions, 8 + 2 + 24 + 4)
    return b"II*\0\x08\0\0\0" + tags + bytes(4) + FRACTION * fractions


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    content = b"WEBP" + b"".join(
        kind + struct.pack("<L", len(data)) + data + bytes(len(data) & 1) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<L", len(content)) + content


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    """64×64, with EXIF data announced, and these chunks."""
    data = saved(Image.new("RGB", (64, 64)), "WEBP", lossless=True)[20:]
    return riff((b"VP8X", bytes((8, 0, 0, 0, 63, 0, 0, 63, 0, 0))), (b"VP8L", data), *chunks)


def gif(before: bytes) -> bytes:
    """64×64, with this before the first frame."""
    whole = saved(Image.new("P", (64, 64)), "GIF")
    at = whole.index(b",")
    return whole[:at] + before + whole[at:]


def run_length_bmp(side: int, runs: bytes) -> bytes:
    start, palette = 54, bytes(1024)
    info = struct.pack("<LllHHLLLLLL", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 256)
    return b"BM" + struct.pack("<LHHL", 0, 0, 0, start + len(palette)) + info + palette + runs


def shared_strips(count: int) -> bytes:
    """Each strip is the same 600 kB that decompress to 64 bytes."""
    strip = b"\x78\xda" + EMPTY_BLOCKS * 6600 + b"\x01\x40\x00\xbf\xff" + bytes(64)
    strip += zlib.adler32(bytes(64)).to_bytes(4, "big")
    at = 16 * 1024
    places, lengths = struct.pack("<L", at) * count, struct.pack("<L", len(strip)) * count
    tags = {257: number(count), 259: number(8), 278: number(1), 273: (4, count, places), 279: (4, count, lengths)}
    return tiff(tags, strip, at=at)


NOTHING = b"\x78\xda" + EMPTY_BLOCKS * 340_000
"""31 MB of deflated data without content."""


def tiff_of_nothing(strips: int) -> bytes:
    at, length = 16 * 1024, len(NOTHING) // strips
    data = NOTHING[:length] * strips
    places = struct.pack(f"<{strips}L", *range(at, at + len(data), length))
    lengths = struct.pack("<L", length) * strips
    tags = {257: number(strips), 259: number(8), 278: number(1)}
    return tiff(tags | {273: (4, strips, places), 279: (4, strips, lengths)}, data, at=at)


def padded_tiles() -> bytes:
    """One pixel wide, its 200 tiles a million."""
    tile, at, count = zlib.compress(bytes(16_000_000), 9), 16 * 1024, 200
    places = struct.pack(f"<{count}L", *range(at, at + count * len(tile), len(tile)))
    lengths = struct.pack("<L", len(tile)) * count
    tags = {256: number(1), 257: number(16 * count), 259: number(8), 322: number(1_000_000), 323: number(16)}
    return tiff(tags | {324: (4, count, places), 325: (4, count, lengths)}, tile * count, at=at)


def many_tags() -> bytes:
    """A BigTIFF with every tag there is, and half a million that are nothing."""
    count = 65_535 - 256 + 500_000
    sizes = {256: 64, 257: 64, 258: 8}
    tags = b"".join(struct.pack("<HHQQ", tag, 3, 1, sizes.get(tag, 1)) for tag in range(256, 65_535) if tag != 0xBC01)
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, count - 1) + tags + struct.pack("<HHQQ", 0, 3, 0, 0) * 500_000


SCAN = segment(0xDA, bytes((1, 1, 0, 1, 63, 0)))
"""Of a gray progressive JPEG's."""

CRAFTED: dict[str, Callable[[], bytes]] = {
    "TIFF of fractions for strips": lambda: tiff({273: (5, 3 * MEGABYTE, FRACTION * 3 * MEGABYTE), 278: number(1)}),
    "TIFF of short strips": lambda: tiff({273: (3, 12 * MEGABYTE, bytes(24 * MEGABYTE)), 278: number(1)}),
    "TIFF of strips, high byte first": lambda: tiff(
        {273: (4, 6 * MEGABYTE, bytes(24 * MEGABYTE)), 278: number(1, ">")}, order=">"
    ),
    "BigTIFF of strips": lambda: tiff({273: (16, 3 * MEGABYTE, bytes(24 * MEGABYTE)), 278: number(1)}, big=True),
    "TIFF of tiles": lambda: tiff({322: number(16), 323: number(16), 324: (4, 6 * MEGABYTE, bytes(24 * MEGABYTE))}),
    "TIFF with fractions in a tag": lambda: tiff({274: (5, MEGABYTE, FRACTION * MEGABYTE)}),
    "TIFF with numbers in a tag": lambda: tiff({339: (1, 28 * MEGABYTE, b"\1" * 28 * MEGABYTE)}),
    "TIFF whose strips are the same": lambda: shared_strips(100),
    "TIFF whose tiles are all but outside": padded_tiles,
    "BigTIFF of tags": many_tags,
    "TIFF of a strip of nothing": lambda: tiff_of_nothing(1),
    "TIFF of strips of nothing": lambda: tiff_of_nothing(1000),
    "JPEG of scans": lambda: jpeg(behind=SCAN * 3000, size=(4000, 4000)),
    "JPEG of segments": lambda: jpeg(segment(0xFE) * 7 * MEGABYTE),
    "JPEG of what is no segment": lambda: jpeg(b"\xff\xd0" + bytes(30 * MEGABYTE)),
    "JPEG of fill bytes": lambda: jpeg(b"\xff" * 30 * MEGABYTE),
    "JPEG of fill bytes behind a scan": lambda: jpeg(behind=b"\xff" * 30 * MEGABYTE),
    "JPEG of tables": lambda: jpeg(segment(0xDB, bytes(65_000)) * 480),
    "JPEG of EXIF data": lambda: jpeg(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 480),
    "JPEG of Photoshop's blocks": lambda: jpeg(
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\5\0\0\0\0\0\0" * 5000) * 500
    ),
    "JPEG with a scan for each colour": lambda: baseline_scans((12_000, 10_000)),
    "PNG of chunks": lambda: png(png_chunk(b"abCd", b"") * 2_600_000),
    "PNG of empty data": lambda: png(png_chunk(b"IDAT", b"") * 2_600_000),
    "PNG of nothing": lambda: png(deflated=NOTHING),
    "PNG of chunks behind it": lambda: png(after=png_chunk(b"abCd", b"") * 2_600_000),
    "PNG of profiles": lambda: png(png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1_000_000), 9)) * 4000),
    "PNG of EXIF data": lambda: png(png_chunk(b"eXIf", exif(MEGABYTE))),
    "PNG of EXIF data as text": lambda: png(
        png_chunk(b"tEXt", b"Raw profile type exif\0\n\n\n" + exif(MEGABYTE).hex().encode())
    ),
    "WebP of chunks": lambda: webp(*[(b"abcd", b"")] * 3_900_000),
    "WebP of EXIF data": lambda: webp((b"EXIF", exif(MEGABYTE))),
    "GIF of comments": lambda: gif(b"!\xfe" + b"\2ab" * 10 * MEGABYTE + b"\0"),
    "GIF of extensions": lambda: gif(b"!\x01\1a\0" * 6 * MEGABYTE),
    "BMP of runs": lambda: run_length_bmp(2000, b"\1\0" * 15 * MEGABYTE),
    "BMP of ends of lines": lambda: run_length_bmp(4000, b"\1\0\0\0" * 4000),
}
"""All are refused; docs/operations.md has what they took before."""
