"""Every listed format and mode is classified; bombs and damage are refused, within bounds on time and memory."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import Server, run_server
from fuzzing import ALLOWED, Run, cases, corpus
from live.crafted import riff
from live.test_refusals import huge_png, png_chunk
from numpy.typing import NDArray
from PIL import Image

MEGABYTE = 1 << 20
MEMORY = 300 * MEGABYTE
"""More than the idle server holds, for any one request."""

CPU = 1.5
"""Seconds in the server's process for any one request; docs/operations.md has what was measured."""

MANY_REQUESTS = ("test_cut_off_at_every_kind_of_place", "test_a_short_fuzz")


@pytest.fixture(scope="module")
def bounded() -> Iterator[Server]:
    with run_server() as server:
        yield server


@pytest.fixture(scope="module")
def client(bounded: Server) -> Iterator[httpx.Client]:
    with bounded.client() as client:
        yield client


@pytest.fixture(autouse=True)
def bounds(request: pytest.FixtureRequest, bounded: Server, client: httpx.Client, boot: bytes) -> Iterator[None]:
    """For every test here."""
    with within_bounds(bounded, client, boot, request.node.originalname in MANY_REQUESTS):
        yield


@contextmanager
def within_bounds(server: Server, client: httpx.Client, boot: bytes, many: bool = False) -> Iterator[None]:
    """What is asked meanwhile takes no more than one request may, and the next good picture is classified.

    If it is many requests, their seconds do not count.
    """
    assert client.post("/predict", files={"file": boot}).status_code == 200
    peak_memory(server)  # from here on
    memory, seconds = peak_memory(server), cpu_seconds(server)
    yield
    assert peak_memory(server) - memory < MEMORY
    assert many or cpu_seconds(server) - seconds < CPU
    assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"


def peak_memory(server: Server) -> int:
    """Bytes; asking also begins a new measurement."""
    process = Path(f"/proc/{server.process.pid}")
    (line,) = [line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM")]
    (process / "clear_refs").write_text("5")
    return int(line.split()[1]) * 1024


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def code(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json", response.text
    answer: str = response.json()["code"]
    return answer


@pytest.mark.parametrize("name", corpus())
def test_every_format_and_mode(client: httpx.Client, name: str) -> None:
    content = corpus()[name]
    assert client.post("/predict", content=content).status_code == 200, name
    misnamed = client.post("/predict", files={"file": ("picture.doc", content, "image/gif")})
    assert misnamed.status_code == 200, name


def test_a_gif_of_ten_thousand_frames(client: httpx.Client) -> None:
    """Only the first is decoded."""
    file = io.BytesIO()
    Image.new("P", (64, 64)).save(file, "GIF")
    head, frame = file.getvalue()[:-1], b"\x21\xf9\x04\0\x01\0\0\0" + file.getvalue()[file.getvalue().index(b",") : -1]
    assert client.post("/predict", content=head + frame * 10_000 + b";").status_code == 200


def test_bombs(client: httpx.Client) -> None:
    assert code(client.post("/predict", content=huge_png(5000, 5000))) == "too-many-pixels"
    gif = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\2"
    assert code(client.post("/predict", content=gif + b"\2\x4c\1\0;")) == "too-many-pixels"
    file = io.BytesIO()
    Image.new("RGB", (8000, 8000)).save(file, "WEBP", lossless=True, method=0)
    assert code(client.post("/predict", content=file.getvalue())) == "too-many-pixels"
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "TIFF", compression="group4")
    assert code(client.post("/predict", content=file.getvalue())) == "too-many-pixels"


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_a_bomb_beside_the_picture(client: httpx.Client, boot: bytes, kind: bytes) -> None:
    """A hundred megabytes in a compressed chunk that is no part of the picture."""
    packed = zlib.compress(bytes(100 * MEGABYTE), 9)
    content = {b"iCCP": b"x\0\0", b"zTXt": b"x\0\0", b"iTXt": b"x\0\1\0\0\0"}[kind] + packed
    response = client.post("/predict", content=boot[:33] + png_chunk(kind, content) + boot[33:])
    assert response.status_code in (200, 422)


@pytest.mark.parametrize(
    "kind", ["rgba", "deep", "webp", "animated webp", "progressive cmyk", "progressive gray", "jpeg"]
)
def test_the_largest_pictures_stay_bounded(kind: str, boot: bytes) -> None:
    """Of a server of their own: one that has decoded others before may have kept their memory."""
    content = largest(kind)
    with run_server() as server, server.client() as client, within_bounds(server, client, boot):
        assert client.post("/predict", content=content).status_code == 200


def largest(kind: str) -> bytes:
    """As many pixels as are allowed, in a file that is hard to decode or, behind the picture, as large as allowed."""
    file = io.BytesIO()
    if kind == "deep":
        Image.fromarray(blocks(4000, 4000).astype(np.uint16) * 256).save(file, "PNG", compress_level=1)
    elif kind == "rgba":
        Image.fromarray(np.dstack([blocks(4000, 4000)] * 4)).save(file, "PNG", compress_level=1)
    elif kind == "progressive cmyk":
        Image.fromarray(noise(4000, 5000, 4), "CMYK").save(file, "JPEG", progressive=True, quality=30)
    elif kind == "progressive gray":
        Image.fromarray(noise(8000, 10_000)).save(file, "JPEG", progressive=True, quality=20)
    elif kind == "jpeg":
        Image.fromarray(noise(10_000, 12_800, 3)).save(file, "JPEG", quality=5, subsampling=0)
    else:
        Image.fromarray(np.dstack([blocks(3000, 4000)] * 4)).save(file, "WEBP", lossless=True, method=0, quality=0)
        size, rest = (3999).to_bytes(3, "little") + (2999).to_bytes(3, "little"), 31 * MEGABYTE - len(file.getvalue())
        if kind == "webp":
            parts, flags = [(b"VP8L", file.getvalue()[20:])], 0x10
        else:
            parts, flags = [(b"ANIM", bytes(6)), (b"ANMF", bytes(6) + size + bytes(4) + file.getvalue()[12:])], 0x12
        return riff((b"VP8X", bytes((flags, 0, 0, 0)) + size), *parts, (b"abcd", bytes(rest)))
    return file.getvalue()


def blocks(height: int, width: int) -> NDArray[np.uint8]:
    small = np.arange(height * width // 64, dtype=np.uint8).reshape(height // 8, width // 8)
    return np.kron(small, np.ones((8, 8), np.uint8))


def noise(height: int, width: int, bands: int = 1) -> NDArray[np.uint8]:
    tile = np.random.default_rng(0).integers(0, 256, (500, 500, bands), np.uint8)
    whole = np.tile(tile, (-(-height // 500), -(-width // 500), 1))[:height, :width]
    return np.ascontiguousarray(whole[..., 0] if bands == 1 else whole)


@pytest.mark.parametrize(
    "name", ["PNG RGBA", "JPEG progressive", "WEBP animated", "GIF animated", "BMP P", "TIFF jpeg"]
)
def test_cut_off_at_every_kind_of_place(client: httpx.Client, name: str) -> None:
    content = corpus()[name]
    for keep in sorted({*range(1, 40), *range(40, len(content), max(1, len(content) // 60)), len(content) - 1}):
        response = client.post("/predict", content=content[:keep])
        assert response.status_code in ALLOWED, (name, keep, response.text)


def test_polyglots(client: httpx.Client, boot: bytes) -> None:
    """A picture with something else behind it is a picture; something else with a picture behind it is not."""
    page = b"<html><script>alert(1)</script>"
    assert client.post("/predict", content=boot + page).status_code == 200
    assert client.post("/predict", content=boot + b"PK\x03\x04" + bytes(1000)).status_code == 200
    assert code(client.post("/predict", content=page + boot)) == "unsupported-format"
    assert code(client.post("/predict", content=b"%PDF-1.7\n" + boot)) == "unsupported-format"


def test_a_short_fuzz(bounded: Server) -> None:
    """The long one is make fuzz."""
    seed = random.SystemRandom().randrange(1 << 30)
    run = Run(bounded.url, cases(seed, 400))
    run()
    assert not run.wrong, f"python -m tests.fuzzing --count 400 --seed {seed}: {run.wrong[0][1]}"
    assert sum(run.answered.values()) == 400
    assert run.answered[200] > 0
    assert len(run.answered) > 2
    assert "Traceback" not in "".join(bounded.log)
