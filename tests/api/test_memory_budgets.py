"""What all requests together may hold: bytes that arrive and pixels that are decoded, however many come at once."""

import asyncio
import gzip
import json
import os
import select
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import httpx
from conftest import Server, run_server
from support.bounds import MEGABYTE, largest, peak_memory
from support.faults import release
from support.sockets import code, connect

from app.images.memory_budget import DecodeBudget

PATIENCE = 60.0

FORM = b"POST /predict HTTP/1.1\r\nContent-Type: image/png\r\n"


def answer(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection, or a whole answer is there."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
        head, end, body = received.partition(b"\r\n\r\n")
        if end and len(body) == int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            break
    return received


def test_a_gigabyte_without_a_length_is_cut_off(server: Server, boot: bytes) -> None:
    piece = b"100000\r\n" + bytes(MEGABYTE) + b"\r\n"
    peak_memory(server)  # from here on
    before, sent = peak_memory(server), 0
    with connect(server) as connection:
        connection.sendall(FORM + b"Transfer-Encoding: chunked\r\n\r\n")
        while sent < 1024 * MEGABYTE and not select.select([connection], [], [], 0)[0]:
            try:
                connection.sendall(piece)
            except ConnectionError:  # it has closed, its answer is there to be read
                break
            sent += MEGABYTE
        assert code(answer(connection)) == (413, "body-too-large")
    assert sent < 200 * MEGABYTE
    assert peak_memory(server) - before < 150 * MEGABYTE
    with server.client() as client:
        assert client.post("/predict", content=boot).status_code == 200


def test_bodies_in_memory_are_bounded_together(boot: bytes) -> None:
    """Sixteen times the largest: of twenty that are all but whole, four at least are refused."""
    body = boot + bytes(MEGABYTE - len(boot))  # what is behind a picture is no matter
    with run_server(GOOGLENET_MAX_UPLOAD_BYTES=str(MEGABYTE), GOOGLENET_BODY_TIMEOUT="60") as server:
        connections = [connect(server) for _ in range(20)]
        try:
            for connection in connections:
                connection.sendall(FORM + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-1])
            until, refused = time.monotonic() + PATIENCE, []
            while len(refused) < 4:
                assert time.monotonic() < until, "all of them are held"
                refused = select.select(connections, [], [], 1)[0]
            for connection in connections:
                connection.sendall(body[-1:])
            answers = [answer(connection) for connection in connections]
        finally:
            for connection in connections:
                connection.close()
        statuses = [int(text.split()[1]) for text in answers]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 8
        for text in answers:
            assert text.startswith(b"HTTP/1.1 200") or (b'"queue-full"' in text and b"retry-after: " in text.lower())
        with server.client() as client:  # nothing is held any more
            assert all(client.post("/predict", content=body).status_code == 200 for _ in range(20))


def test_bodies_count_as_what_they_are_decompressed_to(boot: bytes, tmp_path: Path) -> None:
    """Of twenty whose pictures have a megabyte of nothing behind them, four at least are refused."""
    pipe = tmp_path / "pipe"
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": MEGABYTE - 500}}
    head = json.dumps({"inputs": [tensor]}).encode()
    picture = boot + bytes(MEGABYTE - 504 - len(boot))
    body = gzip.compress(head + struct.pack("<I", len(picture)) + picture)
    assert len(body) < 10_000
    headers = {"Content-Encoding": "gzip", "Inference-Header-Content-Length": str(len(head))}
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "100"}
    with run_server(GOOGLENET_MAX_UPLOAD_BYTES=str(MEGABYTE), **settings) as server:

        async def ask() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=server.url, timeout=120, headers=headers) as client:
                tasks = [
                    asyncio.create_task(client.post("/v2/models/googlenet-fashion-mnist/infer", content=body))
                    for _ in range(20)
                ]
                refused = [await task for _, task in zip(range(4), asyncio.as_completed(tasks), strict=False)]
                assert [answer.status_code for answer in refused] == 4 * [503]
                await asyncio.to_thread(release, pipe)
                return await asyncio.gather(*tasks)

        os.mkfifo(pipe)
        statuses = [answer.status_code for answer in asyncio.run(ask())]
        assert 12 <= statuses.count(200) <= 16


def test_pixels_in_decoding_are_bounded_together() -> None:
    """As many as four of the largest pictures, or forty of a tenth, however many threads there are."""
    for share, most in ((1.0, 4), (0.1, 40)):
        decoding, crowd = DecodeBudget(4), Crowd(80)
        threads = [threading.Thread(target=crowd.enter, args=(decoding, share)) for _ in range(80)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert crowd.left == 80
        assert most - 1 <= crowd.largest <= most  # tenths do not add up exactly


def test_large_pictures_are_decoded_a_few_at_a_time(boot: bytes) -> None:
    """A machine of many cores, and twelve requests at once for 150 MB each: at most four of them have it."""
    picture, cores = largest("rgba"), "import os, runpy; os.sched_getaffinity = lambda _: set(range(16))"
    command = (sys.executable, "-c", f"{cores}; runpy.run_module('app', run_name='__main__', alter_sys=True)")
    settings = {"GOOGLENET_REQUEST_TIMEOUT": "100", "MALLOC_MMAP_THRESHOLD_": "100000"}  # what is freed is given back
    with run_server(*command, **settings) as server:

        async def ask() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
                return await asyncio.gather(*(client.post("/predict", content=picture) for _ in range(12)))

        with server.client() as client:
            assert client.post("/predict", content=boot).status_code == 200
        peak_memory(server)  # from here on
        before = peak_memory(server)
        assert [answer.status_code for answer in asyncio.run(ask())] == 12 * [200]
        growth = peak_memory(server) - before
        assert growth < 900 * MEGABYTE


class Crowd:
    """Threads that decode nothing; nobody leaves before all have come."""

    def __init__(self, expected: int) -> None:
        self.expected, self.came, self.inside, self.largest, self.left = expected, 0, 0, 0, 0
        self.changed = threading.Condition()

    def enter(self, decoding: DecodeBudget, share: float) -> None:
        with self.changed:
            self.came += 1
            self.changed.notify_all()
        with decoding.reserve(share):
            with self.changed:
                self.inside += 1
                self.largest = max(self.largest, self.inside)
                self.changed.wait_for(lambda: self.came == self.expected, PATIENCE)
            time.sleep(0.01)  # for whoever is let in beside
            with self.changed:
                self.inside -= 1
                self.left += 1
