"""Pictures of a few kilobytes whose content takes long to process are answered or refused within the bounds."""

import itertools
import struct

import httpx
import numpy as np
import pytest
from conftest import Server
from PIL import Image
from support.bounds import code
from support.crafted import EMPTY_BLOCKS, MEGABYTE, number, saved, tiff
from support.pictures import png_chunk

from app.images.decode import open_picture


def maze(side: int, pitch: int) -> Image.Image:
    """One white corridor between black walls, which bends at every cell."""
    cells = side // pitch // 2 * 2
    path = [
        (strip + (i + step) % 2, column)
        for strip in range(0, cells, 2)
        for i, column in enumerate(range(cells) if strip % 4 == 0 else reversed(range(cells)))
        for step in (0, 1)
    ]
    pixels = np.zeros((cells * pitch + 1,) * 2, np.uint8)
    for (y0, x0), (y1, x1) in itertools.pairwise(path):
        rows, columns = sorted((y0, y1)), sorted((x0, x1))
        pixels[rows[0] * pitch + 1 : (rows[1] + 1) * pitch, columns[0] * pitch + 1 : (columns[1] + 1) * pitch] = 255
    return Image.fromarray(np.pad(pixels, 6, constant_values=255))


def test_a_maze(bounded_client: httpx.Client) -> None:
    assert bounded_client.post("/predict", content=saved(maze(434, 4), "PNG")).status_code == 200


@pytest.mark.parametrize("size", [(1, 15_000_000), (15_000_000, 1)])
def test_a_line_of_millions_of_pixels(bounded_client: httpx.Client, size: tuple[int, int]) -> None:
    assert code(bounded_client.post("/predict", content=saved(Image.new("LA", size), "PNG"))) == "too-many-pixels"


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def scans(frame: int, tables: bytes, entropy_coded: bytes, count: int) -> bytes:
    """A progressive JPEG, 10,000×8,000 gray, whose scans all refine the same coefficients."""
    size = struct.pack(">BHHB", 8, 8_000, 10_000, 1) + bytes((1, 0x11, 0))
    first, second, others = ((1, 1, 0, 0, 0, 0), (1, 1, 0, 1, 63, 1), (1, 1, 0, 1, 63, 0x10))
    headers = [segment(0xDA, bytes(header)) for header in (first, second, *[others] * (count - 2))]
    quantization = segment(0xDB, bytes([0] + [1] * 64))
    data = b"".join(header + entropy_coded for header in headers)
    return b"\xff\xd8" + quantization + segment(frame, size) + tables + data + b"\xff\xd9"


@pytest.mark.parametrize("kind", ["arithmetic", "huffman"])
def test_a_jpeg_of_80_megapixels_and_39_scans(bounded_client: httpx.Client, kind: str) -> None:
    if kind == "arithmetic":
        content = scans(0xCA, b"", bytes(range(64)), 39)
    else:  # in runs of 32,767 blocks without a coefficient
        tables = segment(0xC4, bytes((0, 1, *[0] * 15, 0))) + segment(0xC4, bytes((0x10, 1, 1, *[0] * 14, 0xE0, 0)))
        bits = ("0" + 14 * "1") * -(-10_000 * 8_000 // 64 // 32_767)
        bits += "1" * (-len(bits) % 8)
        content = scans(0xC2, tables, int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0"), 39)
    assert code(bounded_client.post("/predict", content=content)) == "undecodable-picture"


def test_a_tiny_picture_with_megabytes_of_empty_blocks(bounded_client: httpx.Client) -> None:
    head = struct.pack(">LL", 28, 28) + bytes((8, 0, 0, 0, 0))
    deflated = b"\x78\xda" + EMPTY_BLOCKS * (28 * MEGABYTE // len(EMPTY_BLOCKS))
    content = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", deflated) + png_chunk(b"IEND", b"")
    assert code(bounded_client.post("/predict", content=content)) == "undecodable-picture"


def test_warnings_about_a_picture_are_not_logged(bounded: Server, bounded_client: httpx.Client, boot: bytes) -> None:
    """Pillow warns of an orientation that is five numbers. Python keeps each such text, and the log would have it."""
    exif = b"II*\0\x08\0\0\0" + struct.pack("<HHHLL5H", 1, 274, 3, 5, 26, 0, 0, 3, 0, 0) + struct.pack("<5H", *range(5))
    assert bounded_client.post("/predict", content=boot[:33] + png_chunk(b"eXIf", exif) + boot[33:]).status_code == 200
    assert not any("entries" in line for line in bounded.log)


def test_a_tiff_compressed_by_lzma(bounded_client: httpx.Client) -> None:
    content = saved(Image.new("L", (64, 64)), "TIFF", compression="lzma")
    assert code(bounded_client.post("/predict", content=content)) == "undecodable-picture"


def test_a_small_tiff_whose_strips_are_all_the_same(bounded_client: httpx.Client) -> None:
    strips = 1900
    tags = {257: number(strips), 278: number(1)}
    tags |= {tag: (4, strips, struct.pack("<L", value) * strips) for tag, value in ((273, 8), (279, 64))}
    content = tiff(tags, data=b"")
    assert len(content) <= 16 * 1024
    assert code(bounded_client.post("/predict", content=content)) == "undecodable-picture"


def test_code_tables_of_a_lossless_webp_count_as_memory() -> None:
    """Those of 256×256 pixels may take 56 MB."""
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    lossless, lossy = (saved(Image.fromarray(pixels), "WEBP", lossless=kind) for kind in (True, False))
    assert open_picture(lossless, 16_000_000).budget_share > 0.15
    assert open_picture(lossy, 16_000_000).budget_share < 0.01
