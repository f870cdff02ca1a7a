"""One line a request, for people or machines, and never what was in the picture or what its file was called."""

import json
import re
import signal
import time
from collections.abc import Iterator

import pytest
from conftest import Server, run_server
from PIL import Image
from support.crafted import saved
from support.sockets import connect
from support.waiting import said, wait_until

from app.middleware.request_monitor import SECURITY_HEADERS

PATIENCE = 30.0


def line_with(server: Server, text: str) -> str:
    until = time.monotonic() + PATIENCE
    while not (found := [line for line in list(server.log) if text in line]):
        assert time.monotonic() < until, "".join(server.log)
    assert len(found) == 1
    return found[0]


def test_a_line_for_machines(boot: bytes) -> None:
    with run_server(GOOGLENET_LOG_FORMAT="json") as server, server.client() as client:
        sent = {"X-Request-ID": "abc-123"}
        answer = client.post("/predict?top_k=1", files={"file": ("secret-name.png", boot)}, headers=sent)
        assert answer.headers["x-request-id"] == "abc-123"
        line = json.loads(line_with(server, "abc-123"))
        assert line["route"] == "/predict"
        assert line["method"] == "POST"
        assert line["status"] == 200
        assert line["format"] == "PNG"
        assert line["label"] == "Ankle boot"
        assert line["batch_size"] == 1
        assert line["bytes"] > len(boot)
        assert {name: line[name] for name in ("decode", "queue", "inference")} == answer.json()["timing_ms"]
        client.post("/predict", content=b"nothing", headers={"X-Request-ID": "refused-1"})
        assert json.loads(line_with(server, "refused-1"))["status"] == 415
        started = len(server.log)
        assert all(json.loads(line)["level"] == "INFO" for line in server.log[:started] if line.startswith("{"))
        assert "secret-name" not in "".join(server.log)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_is_for_machines(workers: int) -> None:
    """Pillow's warnings, here of EXIF data that are cut off, are no lines: they would have the client's text."""
    picture = saved(Image.new("L", (40, 40)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x0e\1\2\0\xff\xff\0\0\x1a")
    with run_server(GOOGLENET_LOG_FORMAT="json", GOOGLENET_WORKERS=str(workers)) as server:
        with server.client() as client:
            assert client.post("/predict", content=picture).status_code == 200
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: said(server, "is served from now on") == workers)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
    lines = [json.loads(line) for line in server.log]
    assert not [line for line in lines if line["logger"] == "py.warnings"]


def test_a_line_for_people(server: Server, boot: bytes) -> None:
    with server.client() as client:
        client.post("/predict", files={"file": boot}, headers={"X-Request-ID": "people-1"})
    line = line_with(server, "people-1")
    assert re.match(r"[\d-]{10} [\d:,]{12} INFO app.request: POST /predict 200 [\d.]+ ms id=people-1 ", line)
    assert "label=Ankle boot" in line


@pytest.mark.parametrize("workers", [1, 2])
def test_the_last_lines_are_written(workers: int) -> None:
    with run_server(GOOGLENET_WORKERS=str(workers)) as server:
        wait_until(lambda: said(server, "startup complete") == workers)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
        for line in ("Shutting down", "Application shutdown complete", "Finished server process"):
            wait_until(lambda line=line: said(server, line) == workers)  # type: ignore[misc]


def counted(server: Server, status: int) -> float:
    """Answers with that status to what was no request."""
    with server.client() as client:
        line = rf'^googlenet_http_requests_total{{route="unknown",status="{status}"}} (\S+)'
        return sum(map(float, re.findall(line, client.get("/metrics").text, re.MULTILINE)))


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (400, b"GET / HTTP/1.1\r\nX-Request-ID: no-request-400\r\nHost: x\r\nFAKE \x1b[31m\r\n\r\n"),
        (408, b"GET /FAKE HTTP/1.1\r\nX-Request-ID: no-request-408\r\nHost: x\r\nX-FAKE"),
        (431, b"GET /FAKE HTTP/1.1\r\nX-Request-ID: no-request-431\r\n" + b"FAKE: x\r\n" * 8000),
    ],
)
def test_what_is_no_request_is_noted_as_every_other(impatient: Server, status: int, head: bytes) -> None:
    before = counted(impatient, status)
    with connect(impatient) as connection:
        connection.sendall(head)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).lower()
    assert answer.startswith(b"http/1.1 %d " % status)
    assert b"\r\nx-request-id: no-request-%d\r\n" % status in answer
    for name, value in SECURITY_HEADERS:
        assert b"\r\n%s: %s\r\n" % (name, value) in answer
    assert f"app.request: - unknown {status} " in line_with(impatient, f"no-request-{status}")
    assert counted(impatient, status) == before + 1
    assert "FAKE" not in "".join(impatient.log)


def test_an_id_that_is_unfit_for_a_log_is_replaced(impatient: Server) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Request-ID: a FAKE \xff id\r\nHost: x\r\nno header\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode().lower()
    (request_id,) = re.findall("\r\nx-request-id: ([0-9a-f-]+)\r\n", answer)
    assert "unknown 400" in line_with(impatient, request_id)
    assert "FAKE" not in "".join(impatient.log)


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    with run_server(GOOGLENET_HEADER_TIMEOUT="2") as running:
        yield running


@pytest.mark.parametrize("path", ["/x%0aFAKE%20INFO%20line", "/%1b[31m"])
def test_a_path_writes_no_line_of_its_own(server: Server, path: str) -> None:
    with server.client() as client:
        assert client.get(path, headers={"X-Request-ID": f"path-{len(path)}"}).status_code == 404
    assert "unknown 404" in line_with(server, f"path-{len(path)}")
    assert "FAKE" not in "".join(server.log)
