"""Bad input gets a clear, documented error, and the next good request is served."""

import http.client
import io
import json
import struct
import zlib
from collections.abc import Iterator

import httpx
import pytest
from conftest import Server
from PIL import Image
from support.pictures import huge_png, png_chunk
from support.problems import MULTIPART, part, problem


@pytest.fixture(autouse=True)
def the_next_good_request_is_served(client: httpx.Client, boot: bytes) -> Iterator[None]:
    yield
    assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"


def test_empty_bodies(client: httpx.Client) -> None:
    problem(client.post("/predict"), 400, "empty-body")
    problem(client.post("/predict", headers={"content-type": "image/png"}), 400, "empty-body")
    problem(client.post("/predict", headers=MULTIPART), 400, "empty-body")
    problem(client.post("/predict", files={"file": b""}), 400, "empty-body")


def test_text(client: httpx.Client) -> None:
    problem(client.post("/predict", files={"file": ("a.png", b"just text", "image/png")}), 415, "unsupported-format")
    problem(
        client.post("/predict", content=b"just text", headers={"content-type": "text/plain"}), 415, "unsupported-format"
    )
    problem(
        client.post("/predict", content=b"just text", headers={"content-type": "image/png"}), 415, "unsupported-format"
    )
    problem(client.post("/predict", json={"a": 1}), 422, "invalid-parameter")
    for text in (b"BMW is a car maker from Munich", b"RIFF\x24\0\0\0WAVEfmt ", b"\x89", b"GI"):
        problem(client.post("/predict", files={"file": text}), 415, "unsupported-format")


@pytest.mark.parametrize("keep", [8, 20, 40, 100, -40])
def test_truncated_png(client: httpx.Client, boot: bytes, keep: int) -> None:
    problem(client.post("/predict", files={"file": boot[:keep]}), 422, "undecodable-picture")


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_other_formats_cut_in_half(client: httpx.Client, boot: bytes, format: str) -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(boot)).resize((200, 200)).save(file, format)
    half = file.getvalue()[: len(file.getvalue()) // 2]
    problem(client.post("/predict", files={"file": half}), 422, "undecodable-picture")


def test_unlisted_format(client: httpx.Client, boot: bytes) -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(boot)).save(file, "PPM")
    problem(client.post("/predict", files={"file": file.getvalue()}), 415, "unsupported-format")


def test_40_megapixels(client: httpx.Client) -> None:
    problem(client.post("/predict", files={"file": huge_png(8000, 5000)}), 413, "too-many-pixels")


def test_a_size_no_memory_could_hold(client: httpx.Client) -> None:
    header = (2**31 - 1).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(100)))
    problem(client.post("/predict", files={"file": bomb}), 413, "too-many-pixels")


def test_50_megabytes(client: httpx.Client) -> None:
    problem(client.post("/predict", files={"file": bytes(50_000_000)}), 413, "body-too-large")
    problem(client.post("/predict", content=bytes(50_000_000)), 413, "body-too-large")
    problem(client.post("/predict", content=(bytes(1_000_000) for _ in range(50))), 413, "body-too-large")


def test_400_megabytes(server: Server) -> None:
    """Too much to be read to its end for politeness: refused by its announced length, the connection closed."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", "400000000")
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert response.getheader("Connection") == "close"
    assert json.loads(response.read())["code"] == "body-too-large"
    connection.close()


def test_a_tile_larger_than_its_picture(client: httpx.Client) -> None:
    """A TIFF of 64×64 pixels whose one tile has a hundred million."""
    rows = zlib.compress(bytes(8192 * 12288), 9)
    tags = [(256, 64), (257, 64), (258, 8), (259, 8), (262, 1), (277, 1), (322, 8192), (323, 12288)]
    tags += [(324, 8 + 2 + 12 * 10 + 4), (325, len(rows))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + rows
    problem(client.post("/predict", files={"file": tiff}), 413, "too-many-pixels")


def test_too_many_pictures(client: httpx.Client, boot: bytes) -> None:
    problem(client.post("/predict", files=[("file", boot), ("file", boot)]), 400, "too-many-pictures")
    problem(client.post("/predict/batch", files=[("files", boot)] * 65), 400, "too-many-pictures")
    problem(client.post("/predict/batch", files=[("files", boot)] * 500), 400, "too-many-pictures")
    problem(client.post("/predict/batch", files=[("files", b"x")] * 10_000), 400, "malformed-body")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", part("file", b"x") + b"--b--\r\n"),
        ("multipart/form-data; boundary=other", part("file", b"x") + b"--b--\r\n"),
        ("multipart/form-data; boundary=b", part("file", b"x")),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; na"),
        ("multipart/form-data; boundary=b", b"--b and more\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b" + b" " * 1_000_000 + b"\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", b"--b\r\nA: " + b"x" * 1_000_000 + b"\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", part("file", b"\r\n--bX" * 1_000_000) + b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b"no boundary at all"),
        ("multipart/form-data; boundary=" + "b" * 500, b"--b"),
    ],
)
def test_malformed_forms(client: httpx.Client, content_type: str, body: bytes) -> None:
    problem(client.post("/predict", content=body, headers={"content-type": content_type}), 400, "malformed-body")


@pytest.mark.parametrize("query", ["top_k=0", "top_k=11", "top_k=x", "mode=upside-down"])
def test_wrong_parameters(client: httpx.Client, boot: bytes, query: str) -> None:
    body = problem(client.post(f"/predict?{query}", files={"file": boot}), 422, "invalid-parameter")
    assert query.split("=")[0] in body["detail"]


def test_wrong_method_and_path(client: httpx.Client) -> None:
    response = client.get("/predict")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"
    for path in ("/nowhere", "/static-offline-docs/nowhere", "/static-offline-docs/v2/nowhere"):
        detail = problem(client.get(path), 404, "not-found")["detail"]
        assert "pictures go to POST /predict, the Open Inference Protocol is under /v2" in detail
