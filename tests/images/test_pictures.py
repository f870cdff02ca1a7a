"""Every listed format and mode is classified; bombs and damage are refused, within bounds on time and memory."""

import io
import random
import resource
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Server, run_server
from fuzzing import ALLOWED, Run, cases, corpus
from PIL import Image
from support.bounds import MEGABYTE, code, largest, within_bounds
from support.pictures import huge_png, png_chunk
from support.problems import problem

MANY_REQUESTS = ("test_cut_off_at_every_kind_of_place", "test_a_short_fuzz")


@pytest.fixture(scope="module")
def client(bounded: Server) -> Iterator[httpx.Client]:
    with bounded.client() as client:
        yield client


@pytest.fixture(autouse=True)
def bounds(request: pytest.FixtureRequest, bounded: Server, client: httpx.Client, boot: bytes) -> Iterator[None]:
    """For every test here."""
    with within_bounds(bounded, client, boot, request.node.originalname in MANY_REQUESTS):
        yield


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


def test_too_little_memory_is_no_fault_of_the_picture(boot: bytes) -> None:
    """A limit on the address space of the running server leaves no room for the pixels."""
    content = largest("rgba")
    with run_server() as server, server.client() as client:
        assert client.post("/predict", content=huge_png(300, 300) + bytes(5000)).status_code == 200  # by a thread
        pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[0])
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_AS)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (4096 * pages + 16 * MEGABYTE, limits[1]))
        answer = client.post("/predict", content=content)
        problem(answer, 503, "out-of-memory")
        assert int(answer.headers["retry-after"]) > 0
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, limits)
        assert client.post("/predict", content=content).status_code == 200


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
