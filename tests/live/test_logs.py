"""One line a request, for people or machines, and never what was in the picture or what its file was called."""

import json
import re
import time

import pytest
from conftest import Server, run_server

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


def test_a_line_for_people(server: Server, boot: bytes) -> None:
    with server.client() as client:
        client.post("/predict", files={"file": boot}, headers={"X-Request-ID": "people-1"})
    line = line_with(server, "people-1")
    assert re.match(r"[\d-]{10} [\d:,]{12} INFO app.request: POST /predict 200 [\d.]+ ms id=people-1 ", line)
    assert "label=Ankle boot" in line


@pytest.mark.parametrize("path", ["/x%0aFAKE%20INFO%20line", "/%1b[31m"])
def test_a_path_writes_no_line_of_its_own(server: Server, path: str) -> None:
    with server.client() as client:
        assert client.get(path, headers={"X-Request-ID": f"path-{len(path)}"}).status_code == 404
    assert "unknown 404" in line_with(server, f"path-{len(path)}")
    assert "FAKE" not in "".join(server.log)
