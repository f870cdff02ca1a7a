"""What takes milliseconds to open or decode is done in a thread: other requests need the event loop."""

import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import Server
from PIL import Image
from support.crafted import exif, png, saved
from support.crafted_heif import avif, heif
from support.pictures import png_chunk

REQUESTS = 40
LIMIT = 0.005
"""Seconds of the event loop for each."""

BOMB = zlib.compress(bytes(1_000_000), 9)
SMALL = Image.new("RGB", (40, 40), "gray")

SLOW: dict[str, Callable[[], bytes]] = {
    "AVIF announced as tiny": lambda: heif(avif(2400, 2400, size=(40, 40))),
    "PNG of texts": lambda: png(png_chunk(b"zTXt", b"x\0\0" + BOMB) * 15),
    "PNG of profiles": lambda: png(png_chunk(b"iCCP", b"x\0\0" + BOMB) * 15),
    "PNG with EXIF data": lambda: saved(SMALL, "PNG", exif=exif(1900)),
    "small PNG with EXIF data": lambda: saved(SMALL, "PNG", exif=exif(480)),
    "JPEG with EXIF data": lambda: saved(SMALL, "JPEG", exif=b"Exif\0\0" + exif(1900)),
    "WebP with EXIF data": lambda: saved(SMALL, "WEBP", exif=exif(1900)),
}


def loop_seconds(server: Server) -> float:
    """CPU time of the event loop, which has the first thread of the process."""
    pid = server.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


@pytest.mark.parametrize("kind", SLOW)
def test_a_small_file_does_not_hold_up_the_event_loop(server: Server, client: httpx.Client, kind: str) -> None:
    content = SLOW[kind]()
    assert len(content) < 16 * 1024
    assert client.post("/predict", content=content).status_code == 200
    before = loop_seconds(server)
    for _ in range(REQUESTS):
        assert client.post("/predict", content=content).status_code == 200
    assert loop_seconds(server) - before < REQUESTS * LIMIT
