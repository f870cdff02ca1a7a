"""Clients that leave: their places are free at once, nothing is computed for them, and nobody is alarmed."""

import io
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import Server, run_server
from PIL import Image
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


def send(connection: socket.socket, boot: bytes) -> None:
    connection.sendall(request(boot))


def send_two(connection: socket.socket, boot: bytes) -> None:
    connection.sendall(request(boot) + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")


def send_much(connection: socket.socket, boot: bytes) -> None:
    """More than the server holds before it pauses, when it waits for it."""
    head, body = request(boot + bytes(300_000)).split(b"\r\n\r\n", 1)
    connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert connection.recv(1024).startswith(b"HTTP/1.1 100")
    connection.sendall(body)


@pytest.mark.parametrize("send", [send, send_two, send_much])
def test_clients_that_leave_the_queue(
    boot: bytes, tmp_path: Path, send: Callable[[socket.socket, bytes], None]
) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
    with run_server(GOOGLENET_MAX_BATCH_SIZE="1", **settings) as server, server.client() as client:
        os.mkfifo(pipe)
        connections = [connect(server) for _ in range(20)]
        for connection in connections:
            send(connection, boot)
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


def test_clients_that_leave_before_their_body_is_parsed(boot: bytes) -> None:
    """All come and leave while the process is held up. Large JSON is parsed in a thread, one body at a time."""
    picture = np.array(Image.open(io.BytesIO(boot))).tolist()
    body = json.dumps({"instances": 50 * [picture]}).encode()
    head = b"POST /v1/models/googlenet-fashion-mnist:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with run_server() as server, server.client() as client:
        server.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(20):
                with connect(server) as connection:
                    connection.sendall(head % len(body) + body)
        finally:
            server.process.send_signal(signal.SIGCONT)
        seen = 'googlenet_http_requests_total{route="/v1/models/{name}:predict",status="%d"}'
        wait_until(lambda: figure(client, seen % 499) + figure(client, seen % 200) == 20)
        assert figure(client, "googlenet_batch_pictures_count") == 0
        assert not any(level in "".join(server.log) for level in ("ERROR", "WARNING", "Traceback"))
