"""What a file consists of is bounded before it is read: seconds of work in a few megabytes are refused at once."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest
from conftest import Server
from PIL import Image, ImageCms
from support.bounds import code, within_bounds
from support.crafted import (
    CRAFTED,
    MEGABYTE,
    baseline_scans,
    gif,
    jpeg,
    number,
    png,
    run_length_bmp,
    saved,
    segment,
    tiff,
)
from support.pictures import png_chunk


@pytest.fixture(scope="module")
def client(bounded: Server) -> Iterator[httpx.Client]:
    with bounded.client() as client:
        yield client


def photo(file_format: str, **options: object) -> bytes:
    """1200×900 of noise, which compresses badly."""
    return saved(Image.effect_noise((1200, 900), 50).convert("RGB"), file_format, **options)


def in_pieces(data: bytes, size: int) -> bytes:
    """A PNG's, its data in chunks of that many bytes."""
    start, end = data.index(b"IDAT") - 4, data.rindex(b"IEND") - 4
    content, at = b"", start
    while at < end:
        length = int.from_bytes(data[at : at + 4], "big")
        content, at = content + data[at + 8 : at + 8 + length], at + 12 + length
    pieces = (content[i : i + size] for i in range(0, len(content), size))
    return data[:start] + b"".join(png_chunk(b"IDAT", piece) for piece in pieces) + data[end:]


def video(size: int = 4 * MEGABYTE) -> bytes:
    """As phones put it behind a picture: bytes that may look like anything."""
    return random.Random(1).randbytes(size) + b"\xff\xda\0\x08" * 100 + b"\xff" * 5000  # noqa: S311


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

PICTURES: dict[str, Callable[[], bytes]] = {
    "PNG in pieces of 512 bytes": lambda: in_pieces(photo("PNG"), 512),
    "PNG with a profile and texts": lambda: png(
        png_chunk(b"iCCP", b"x\0\0" + zlib.compress(PROFILE)) + png_chunk(b"tEXt", b"a\0b") * 2000
    ),
    "JPEG with a profile, EXIF data, and much of other programs'": lambda: jpeg(
        b"".join(segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000)) for _ in range(150))
        + b"".join(segment(0xED, b"Photoshop 3.0\0" + bytes(60_000)) for _ in range(8)),
        size=(500, 500),
    ),
    "JPEG with a video behind it": lambda: photo("JPEG") + video(),
    "progressive JPEG with a video behind it": lambda: photo("JPEG", progressive=True) + video(),
    "small JPEG with an EXIF picture": lambda: jpeg(segment(0xE1, b"Exif\0\0" + jpeg(size=(160, 120)))),
    "GIF with a long comment": lambda: gif(b"!\xfe" + (b"\xff" + b"a" * 255) * 4000 + b"\0"),
    "TIFF of a strip a row": lambda: tiff(
        {
            257: number(16_000),
            278: number(1),
            273: (4, 16_000, struct.pack("<16000L", *range(200_000, 200_000 + 64 * 16_000, 64))),
            279: (4, 16_000, struct.pack("<L", 64) * 16_000),
        },
        bytes(64 * 16_000),
        at=200_000,
    ),
    "TIFF, high byte first": lambda: tiff({270: (2, MEGABYTE, b"a" * MEGABYTE)}, order=">"),
    "BigTIFF": lambda: tiff({270: (2, MEGABYTE, b"a" * MEGABYTE), 34675: (7, MEGABYTE, bytes(MEGABYTE))}, big=True),
    "TIFF compressed": lambda: photo("TIFF", compression="tiff_adobe_deflate"),
    "TIFF of JPEG": lambda: photo("TIFF", compression="jpeg"),
    "WebP": lambda: photo("WEBP", quality=90),
    "BMP of runs": lambda: run_length_bmp(1000, (b"\4\7" * 250 + b"\0\0") * 1000),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_more_parts_than_any_picture_has(bounded: Server, client: httpx.Client, name: str, boot: bytes) -> None:
    content = CRAFTED[name]()
    with within_bounds(bounded, client, boot):
        response = client.post("/predict", content=content)
    assert (response.status_code, code(response)) in ((422, "undecodable-picture"), (413, "too-many-pixels"))


@pytest.mark.parametrize("name", PICTURES)
def test_as_many_as_pictures_have(bounded: Server, client: httpx.Client, name: str, boot: bytes) -> None:
    content = PICTURES[name]()
    assert len(content) > 16 * 1024 or name.startswith("small")
    with within_bounds(bounded, client, boot):
        response = client.post("/predict", content=content)
    assert response.status_code == 200, response.text


def test_what_costs_more_counts_more(client: httpx.Client) -> None:
    """A progressive JPEG's samples, and so one of several scans; a WebP's pixels; those of a run-length encoded BMP."""
    for mode, size in (("CMYK", (5000, 4016)), ("L", (10_000, 8016))):
        progressive = saved(Image.new(mode, size), "JPEG", progressive=True)
        assert code(client.post("/predict", content=progressive)) == "too-many-pixels"
    assert code(client.post("/predict", content=baseline_scans((8000, 7000)))) == "too-many-pixels"
    assert code(client.post("/predict", content=saved(Image.new("RGB", (4000, 3001)), "WEBP"))) == "too-many-pixels"
    assert code(client.post("/predict", content=run_length_bmp(2001, b"\0\1"))) == "too-many-pixels"
    assert client.post("/predict", content=saved(Image.new("RGB", (8000, 6000)), "JPEG", progressive=True)).is_success
