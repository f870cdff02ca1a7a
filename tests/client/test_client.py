"""The client against real servers: every kind of picture, order, retries, errors."""

import asyncio
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import PICTURES, Server, run_server
from PIL import Image
from support.faults import held, release

from app.client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    Prediction,
    ServiceError,
    TimedOut,
    UnexpectedResponse,
    UnreadablePicture,
)
from app.errors import EngineFailed, InvalidParameter, QueueFull, UnsupportedFormat

BOOT = PICTURES / "ankle-boot-0000.png"


@pytest.fixture(scope="module")
def python(server: Server) -> Iterator[Client]:
    with Client(server.url, timeout=60) as client:
        yield client


def test_every_kind_of_picture_gives_the_same(python: Client) -> None:
    expected = python.predict(BOOT)
    assert isinstance(expected, Prediction)
    assert expected.label == "Ankle boot"
    image = Image.open(BOOT)
    with BOOT.open("rb") as file:
        for picture in (str(BOOT), BOOT.read_bytes(), bytearray(BOOT.read_bytes()), file, image, np.asarray(image)):
            assert python.predict(picture).probabilities == pytest.approx(expected.probabilities, abs=1e-3)
    for mode in ("RGB", "RGBA", "CMYK", "F", "I"):
        assert python.predict(image.convert(mode)).label == "Ankle boot", mode
    for stacked in (np.asarray(image)[:, :, None], np.asarray(image.convert("RGBA"))):
        assert python.predict(stacked).label == "Ankle boot"


def test_an_image_is_turned_upright_as_its_file_would_be(python: Client) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.open(BOOT).transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif)
    assert python.predict(Image.open(file), mode="native").probabilities == pytest.approx(
        python.predict(BOOT, mode="native").probabilities, abs=1e-3
    )


@pytest.mark.parametrize("wrong", [3, np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint8), io.StringIO("text")])
def test_what_can_be_no_picture_is_refused_here(python: Client, wrong: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        python.predict(wrong)  # type: ignore[arg-type]


def test_the_query_is_passed_on(python: Client) -> None:
    answer = python.predict(BOOT, top_k=3, mode="photo", background="dark")
    assert len(answer.probabilities) == 3
    assert answer.preprocessing.mode == "photo"
    with pytest.raises(InvalidParameter, match="mode"):
        python.predict(BOOT, mode="upside-down")


def test_many_in_their_order(python: Client, pictures: list[tuple[str, bytes]]) -> None:
    one_by_one = [python.predict(data) for _, data in pictures]
    contents: list[bytes | Path] = [data for _, data in pictures]
    contents[37], contents[70] = b"no picture", Path("nowhere.png")
    results = python.predict_many(iter(contents), concurrency=5)
    assert isinstance(results[37], UnsupportedFormat)
    assert isinstance(results[70], UnreadablePicture)
    assert len(results) == 100
    for result, alone in zip(results, one_by_one, strict=True):
        if isinstance(result, Prediction):
            assert result.probabilities == pytest.approx(alone.probabilities, abs=0.02)
    assert sum(isinstance(result, ServiceError) for result in results) == 2


def test_samples_of_16_bits_in_either_byte_order(python: Client) -> None:
    samples = np.asarray(Image.open(BOOT)).astype(np.uint16) * 257
    little = Image.fromarray(samples)
    big = Image.frombytes("I;16B", little.size, samples.astype(">u2").tobytes())
    assert python.predict(big).probabilities == pytest.approx(python.predict(little).probabilities, abs=1e-3)


def test_pictures_may_come_slower_than_the_timeout(server: Server, boot: bytes) -> None:
    """The time that the caller's iterator takes is not the service's."""

    def slow() -> Iterator[bytes]:
        for _ in range(48):
            time.sleep(0.1)
            yield boot

    with Client(server.url, timeout=1.2) as client:
        assert all(isinstance(result, Prediction) for result in client.predict_many(slow()))


def test_a_stream_takes_pictures_as_their_turn_comes(python: Client, boot: bytes) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield boot

    stream = python.stream(endless(), concurrency=2)
    assert all(isinstance(next(stream), Prediction) for _ in range(40))
    stream.close()  # type: ignore[attr-defined]
    assert taken < 200


def test_asyncio(server: Server, pictures: list[tuple[str, bytes]]) -> None:
    async def work() -> tuple[list[str], list[str]]:
        async with AsyncClient(server.url, timeout=60) as client:
            contents = [data for _, data in pictures[:20]]
            many = await client.predict_many(contents, concurrency=3)
            alone = await asyncio.gather(*(client.predict(data) for data in contents))
            return [r.label for r in many if isinstance(r, Prediction)], [r.label for r in alone]

    many, alone = asyncio.run(work())
    assert many == alone


def test_health_and_what_is_no_service(server: Server, boot: bytes) -> None:
    with Client(server.url) as client:
        assert client.health().status == "ready"
    with Client(f"{server.url}/elsewhere") as client, pytest.raises(UnexpectedResponse) as caught:
        client.predict(boot)
    assert (caught.value.status, caught.value.code) == (404, "not-found")


class Proxy(BaseHTTPRequestHandler):
    """What stands before a service that is not there: no replica at first, then a page of its own."""

    asked = 0

    def do_POST(self) -> None:
        Proxy.asked += 1
        self.rfile.read(int(self.headers["content-length"]))
        body = b"<html>sorry</html>"
        self.send_response(503 if Proxy.asked < 3 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_proxys_503_is_tried_again_and_its_page_is_no_prediction(boot: bytes) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever).start()
        with Client(f"http://127.0.0.1:{proxy.server_port}") as client:
            with pytest.raises(UnexpectedResponse) as caught:
                client.predict(boot)
            results = client.predict_many([boot] * 3)
        proxy.shutdown()
    assert caught.value.status == 200
    assert [type(result) for result in results] == [UnexpectedResponse] * 3
    assert Proxy.asked == 4
    with pytest.raises(ValueError, match="attempts"):
        AsyncClient(attempts=0)


def test_an_overloaded_server_is_asked_again(tmp_path: Path, boot: bytes) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_QUEUE_SIZE": "64"}
    with run_server(GOOGLENET_REQUEST_TIMEOUT="100", **settings) as server, server.client() as raw:
        os.mkfifo(pipe)
        with Client(server.url, timeout=100) as crowd, Client(server.url, timeout=100, attempts=50) as patient:
            filling = threading.Thread(target=crowd.predict_many, args=([boot] * 64,), kwargs={"concurrency": 4})
            filling.start()
            while not raw.get("/health").json()["queue"]["overloaded"]:  # all of the crowd is in, not a place is left
                pass
            with Client(server.url, attempts=1) as hasty, pytest.raises(QueueFull):
                hasty.predict(boot)
            before = rejected(raw)
            answers: list[Prediction] = []
            asking = threading.Thread(target=lambda: answers.append(patient.predict(boot)))
            asking.start()
            while rejected(raw) == before:
                pass
            release(pipe)
            asking.join()
            filling.join()
    assert [answer.label for answer in answers] == ["Ankle boot"]


def test_a_server_that_is_late_is_waited_for(boot: bytes) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with Client(url, attempts=1) as hasty, pytest.raises(ConnectionFailed):
        hasty.predict(boot)
    answers: list[Prediction] = []
    with Client(url, attempts=1000, timeout=120) as patient:
        asking = threading.Thread(target=lambda: answers.append(patient.predict(boot)))
        asking.start()
        with run_server(GOOGLENET_PORT=str(port)):
            asking.join()
    assert [answer.label for answer in answers] == ["Ankle boot"]


def test_an_engine_that_fails_is_tried_and_then_an_error(tmp_path: Path, boot: bytes) -> None:
    trigger = tmp_path / "trigger"
    with run_server(GOOGLENET_ENGINE="support.faults:NotANumber", FAULT=str(trigger)) as server, server.client() as raw:
        trigger.touch()
        with Client(server.url, timeout=60, attempts=2) as client, pytest.raises(EngineFailed):
            client.predict(boot)
        assert failed(raw) == 2


def test_a_retry_after_beyond_the_timeout_is_not_waited_for(tmp_path: Path, boot: bytes) -> None:
    trigger = tmp_path / "trigger"
    with run_server(GOOGLENET_ENGINE="support.faults:NotANumber", FAULT=str(trigger)) as server, server.client() as raw:
        trigger.touch()
        with Client(server.url, timeout=0.9, attempts=50) as client, pytest.raises((EngineFailed, TimedOut)):
            client.predict(boot)
        assert failed(raw) <= 1


def test_closing_a_client_ends_the_calls_of_other_threads(tmp_path: Path, boot: bytes) -> None:
    pipe = tmp_path / "pipe"
    with (
        run_server(GOOGLENET_ENGINE="support.faults:Hanging", FAULT=str(pipe)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        os.mkfifo(pipe)
        client = Client(server.url, timeout=600)
        call = pool.submit(client.predict, boot)
        with held(pipe):  # the engine has the picture
            client.close()
            with pytest.raises(ConnectionFailed):
                call.result(60)
        with pytest.raises(ConnectionFailed):
            client.predict(boot)


def test_a_client_that_was_made_before_a_fork_says_so(server: Server, boot: bytes) -> None:
    with Client(server.url) as client:
        children = get_context("fork")
        answers = children.SimpleQueue()

        def predict() -> None:
            try:
                client.predict(boot)
            except ServiceError as error:
                answers.put(error.code)

        child = children.Process(target=predict, daemon=True)
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert answers.get() == "connection-failed"


def test_the_timeout_is_kept(tmp_path: Path, boot: bytes) -> None:
    pipe = tmp_path / "pipe"
    with run_server(GOOGLENET_ENGINE="support.faults:Hanging", FAULT=str(pipe)) as server:
        os.mkfifo(pipe)
        with Client(server.url, timeout=1) as client, pytest.raises(TimedOut):
            client.predict(boot)
        release(pipe)


def figure(client: httpx.Client, start: str) -> float:
    return sum(
        float(line.rpartition(" ")[2]) for line in client.get("/metrics").text.splitlines() if line.startswith(start)
    )


def rejected(client: httpx.Client) -> float:
    return figure(client, 'googlenet_pictures_dropped_total{reason="rejected"}')


def failed(client: httpx.Client) -> float:
    return figure(client, 'googlenet_pictures_dropped_total{reason="failed"}')
