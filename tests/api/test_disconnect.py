"""Clients that leave: their places are free at once, nothing is computed for them, and nobody is alarmed."""

import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import Server, run_server
from support.faults import release
from support.load import request

PATIENCE = 30.0


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def figure(client: httpx.Client, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_clients_that_leave_the_queue(boot: bytes, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
    with run_server(GOOGLENET_MAX_BATCH_SIZE="1", **settings) as server, server.client() as client:
        os.mkfifo(pipe)
        connections = [connect(server) for _ in range(20)]
        for connection in connections:
            connection.sendall(request(boot))
        wait_until(lambda: figure(client, "googlenet_queue_pictures") == 19)  # one is being computed
        for connection in connections:
            connection.close()
        wait_until(lambda: figure(client, "googlenet_queue_pictures") == 0)
        assert figure(client, 'googlenet_pictures_dropped_total{reason="abandoned"}') == 20
        release(pipe)
        assert client.post("/predict", files={"file": boot}).status_code == 200
        assert figure(client, "googlenet_batch_pictures_count") == 2  # the one that was under way, and this
        assert not any(level in "".join(server.log) for level in ("ERROR", "WARNING", "Traceback"))


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
def test_clients_that_leave_while_they_send(boot: bytes, server: Server, framing: bytes) -> None:
    with server.client() as client:
        seen = 'googlenet_http_requests_total{route="/predict",status="499"}'
        before, logged = figure(client, seen), len(server.log)
        for _ in range(5):
            with connect(server) as connection:
                connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Type: image/png\r\n" + framing + b"\r\n\r\n")
                connection.sendall(b"400\r\n" + boot)
        wait_until(lambda: figure(client, seen) == before + 5)
        wait_until(lambda: "client_gone=True" in "".join(server.log[logged:]))
        assert not any(level in "".join(server.log[logged:]) for level in ("ERROR", "WARNING", "Traceback"))
        assert client.post("/predict", files={"file": boot}).status_code == 200
