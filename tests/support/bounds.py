"""Bounds on the CPU time and memory of one request."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from conftest import Server
from numpy.typing import NDArray
from PIL import Image
from support.crafted import riff

CPU = 1.5
"""Seconds in the server's process for any one request; docs/operations.md has what was measured."""

MEGABYTE = 1 << 20

MEMORY = 300 * MEGABYTE
"""More than the idle server holds, for any one request."""


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


def code(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json", response.text
    answer: str = response.json()["code"]
    return answer


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


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def blocks(height: int, width: int) -> NDArray[np.uint8]:
    small = np.arange(height * width // 64, dtype=np.uint8).reshape(height // 8, width // 8)
    return np.kron(small, np.ones((8, 8), np.uint8))


def noise(height: int, width: int, bands: int = 1) -> NDArray[np.uint8]:
    tile = np.random.default_rng(0).integers(0, 256, (500, 500, bands), np.uint8)
    whole = np.tile(tile, (-(-height // 500), -(-width // 500), 1))[:height, :width]
    return np.ascontiguousarray(whole[..., 0] if bands == 1 else whole)
