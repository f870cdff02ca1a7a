"""Files that people send: phones' and shops' formats, other kinds, JPEGs without an end, arrays divided by 255."""

import io
import zipfile
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from conftest import Server, run_server
from live.crafted import number, saved, tiff
from live.test_pictures import within_bounds
from live.test_refusals import huge_png, problem
from PIL import Image


@pytest.fixture(scope="module")
def bounded() -> Iterator[Server]:
    with run_server() as server:
        yield server


@pytest.fixture(scope="module")
def client(bounded: Server) -> Iterator[httpx.Client]:
    with bounded.client() as client:
        yield client


@pytest.fixture(autouse=True)
def bounds(bounded: Server, client: httpx.Client, boot: bytes, request: pytest.FixtureRequest) -> Iterator[None]:
    """For every test here; the seconds of many requests do not count."""
    with within_bounds(bounded, client, boot, many="many" in request.node.name):
        yield


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("boot.png", b"boot")
    return file.getvalue()


def box(kind: bytes, content: bytes = b"") -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


GRAY = Image.new("L", (40, 30), 90)

FOREIGN = {
    "JPEG 2000": saved(GRAY, "JPEG2000"),
    "JPEG 2000 ": saved(GRAY, "JPEG2000", no_jp2=True),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(100),
    "JPEG XL ": b"\xff\x0a" + bytes(100),
    "SVG": b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "SVG ": b'\xef\xbb\xbf\n<svg width="3"/>',
    "PDF": saved(GRAY, "PDF"),
    "PSD": b"8BPS\0\1" + bytes(100),
    "ICO": saved(GRAY, "ICO"),
    "PPM": saved(GRAY.convert("RGB"), "PPM"),
    "PGM": saved(GRAY, "PPM"),
    "PBM": saved(GRAY.convert("1"), "PPM"),
    "EPS": saved(GRAY, "EPS"),
    "XCF": b"gimp xcf v011\0" + bytes(100),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(4000),
    "CR3": box(b"ftyp", b"crx \0\0\0\1crx isom") + bytes(100),
    "raw": tiff({259: number(34713), 271: (2, 18, b"NIKON CORPORATION\0")}),
    "DNG": tiff({259: number(52546), 50706: (1, 4, b"\1\7\0\0")}),
    "raw ": b"FUJIFILMCCD-RAW 0201" + bytes(100),
    "MP4": box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + bytes(100),
    "MOV": box(b"ftyp", b"qt  \0\0\0\0qt  ") + bytes(100),
    "zip": archive(),
    "HTML": b"\n<!DOCTYPE html>\n<html><body><img src='boot.png'></body></html>",
    "npy": b"\x93NUMPY\1\0" + bytes(100),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_another_kind_is_named(client: httpx.Client, kind: str) -> None:
    answer = problem(client.post("/predict", files={"file": FOREIGN[kind]}), 415, "unsupported-format")
    assert kind.strip() in answer["detail"]
    assert ": " in answer["detail"]


def test_too_many_pixels_says_what_was_counted(client: httpx.Client) -> None:
    """A phone's 48 megapixels of JPEG pass, a screenshot's 24 of PNG do not."""
    phone = saved(Image.new("RGB", (8064, 6048), "white"), "JPEG", quality=50)
    assert client.post("/predict", content=phone).status_code == 200
    detail = problem(client.post("/predict", content=huge_png(6000, 4000)), 413, "too-many-pixels")["detail"]
    for told in ("6000×4000 = 24,000,000 pixels;", "16,000,000, GOOGLENET_MAX_PIXELS", "JPEG", "128,000,000"):
        assert told in detail
    webp = saved(Image.new("RGB", (4000, 3500)), "WEBP", method=0)
    detail = problem(client.post("/predict", content=webp), 413, "too-many-pixels")["detail"]
    assert "14,000,000 pixels, which count as 18,666,667 here" in detail
    large = saved(Image.new("L", (13_000, 10_000)), "JPEG", quality=30)
    detail = problem(client.post("/predict", content=large), 413, "too-many-pixels")["detail"]
    assert "130,000,000 pixels; the limit for its format is 128,000,000, 8 times GOOGLENET_MAX_PIXELS" in detail
