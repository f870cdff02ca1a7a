"""SIGTERM under load: readiness first, then no new work, and nothing that was accepted is lost."""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import STOP_LIMIT, Server, run_server
from live.faults import release

CLIENTS = 24
ROOM, CROWD = 64, 160


def request(body: bytes) -> bytes:
    return (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


def read_answer(file: "socket.SocketIO | object") -> tuple[int, bool]:
    """(status, whether the connection goes on); (0, False) at the connection's end."""
    line = file.readline()  # type: ignore[attr-defined]
    if not line:
        return 0, False
    headers = {}
    while (header := file.readline().strip()) != b"":  # type: ignore[attr-defined]
        name, _, value = header.partition(b":")
        headers[name.lower()] = value.strip().lower()
    file.read(int(headers[b"content-length"]))  # type: ignore[attr-defined]
    return int(line.split()[1]), headers.get(b"connection") != b"close"


class Load:
    """Clients that keep their connections and ask one picture after the other until nobody listens any more."""

    def __init__(self, server: Server, body: bytes, clients: int = CLIENTS) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.address, self.request = (host, int(port)), request(body)
        self.seen: Counter[object] = Counter()
        self.answered = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        assert self.answered.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self.threads:
            thread.join(STOP_LIMIT)
            assert not thread.is_alive()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + STOP_LIMIT
        while not condition():
            assert time.monotonic() < until, self.seen
            time.sleep(0.02)

    def _ask(self) -> None:
        while True:
            try:
                connection = socket.create_connection(self.address, timeout=60)
            except ConnectionRefusedError:
                return
            except ConnectionResetError as error:  # accepted by the kernel, by nobody else
                self.seen[type(error).__name__] += 1
                return
            with connection, connection.makefile("rb") as file:
                goes_on = True
                while goes_on:
                    try:
                        connection.sendall(self.request)
                        status, goes_on = read_answer(file)
                    except OSError as error:
                        status, goes_on = type(error).__name__, False
                    self.seen[status] += 1
                    self.answered.set()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_is_lost_when_stopping_under_load(boot: bytes, workers: str) -> None:
    settings = {"GOOGLENET_WORKERS": workers, "GOOGLENET_DRAIN_DELAY": "1"}
    with run_server(**settings) as server, Load(server, boot) as load:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(STOP_LIMIT)
    assert set(load.seen) == {200}, load.seen
    assert load.seen[200] > CLIENTS


def test_who_is_refused_while_it_stops_loses_nothing_either(boot: bytes, tmp_path: Path) -> None:
    """There is no room for anybody else until all have been told: they ask again at once, as long as they may."""
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "live.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_QUEUE_SIZE": str(ROOM)}
    settings |= {"GOOGLENET_REQUEST_TIMEOUT": "60", "GOOGLENET_DRAIN_DELAY": "0", "GOOGLENET_DRAIN_LIMIT": "50"}
    with run_server(**settings) as server:
        os.mkfifo(pipe)
        with Load(server, boot, clients=CROWD) as load:
            load.wait_until(lambda: load.seen[503] >= CROWD)
            server.process.send_signal(signal.SIGTERM)
            load.wait_until(lambda: sum(thread.is_alive() for thread in load.threads) <= ROOM)
            release(pipe)
            server.process.wait(STOP_LIMIT)
    assert set(load.seen) == {200, 503}, load.seen
    assert load.seen[200] == ROOM


def test_what_takes_longer_than_the_last_batch_is_waited_for(boot: bytes, tmp_path: Path) -> None:
    """A picture each tenth of a second: everybody's take more than two, and the end alone waits for one."""
    trigger = tmp_path / "trigger"
    trigger.touch()
    settings = {"GOOGLENET_ENGINE": "live.faults:Slow", "FAULT": str(trigger), "GOOGLENET_MAX_BATCH_SIZE": "1"}
    settings |= {"GOOGLENET_REQUEST_TIMEOUT": "60", "GOOGLENET_DRAIN_DELAY": "0", "GOOGLENET_DRAIN_LIMIT": "50"}
    with run_server(**settings) as server, Load(server, boot) as load:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(STOP_LIMIT)
    assert set(load.seen) == {200}, load.seen
    assert load.seen[200] >= CLIENTS


def test_readiness_goes_first_and_all_is_still_served(boot: bytes) -> None:
    with run_server(GOOGLENET_DRAIN_DELAY="3") as server, server.client() as client:
        assert client.get("/health").json()["status"] == "ready"
        server.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 3
        while (health := client.get("/health")).status_code == 200:
            assert time.monotonic() < until
        assert health.json()["status"] == "draining"
        assert health.headers["connection"] == "close"
        assert client.get("/health/live").status_code == 200
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/models/googlenet-fashion-mnist/ready").status_code == 503
        answer = client.post("/predict", files={"file": boot})
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        server.process.wait(STOP_LIMIT)
        with pytest.raises(httpx.ConnectError):
            client.get("/health")


def test_at_the_limit_who_still_waits_is_told(boot: bytes, tmp_path: Path) -> None:
    """An engine that hangs does not hold up the end, and nobody gets a bare 500 for it."""
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "live.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
    with run_server(GOOGLENET_DRAIN_DELAY="0", GOOGLENET_DRAIN_LIMIT="3", **settings) as server:
        os.mkfifo(pipe)
        answers: list[httpx.Response] = []
        with server.client() as client:
            asking = threading.Thread(target=lambda: answers.append(client.post("/predict", files={"file": boot})))
            asking.start()
            assert client.get("/health").status_code == 503  # four seconds later: the engine hangs
            server.process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            asking.join(STOP_LIMIT)
            server.process.wait(STOP_LIMIT)
            assert time.monotonic() - started < 10
        (answer,) = answers
        assert answer.status_code == 503
        assert answer.json()["code"] == "not-ready"
        assert "retry-after" in answer.headers
        assert "Traceback" not in "".join(server.log)


def test_a_second_signal_ends_it_at_once(boot: bytes, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "live.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
    with run_server(GOOGLENET_DRAIN_LIMIT="100", **settings) as server, server.client() as client:
        os.mkfifo(pipe)
        asking = threading.Thread(target=lambda: client.post("/predict", files={"file": boot}))
        asking.start()
        server.process.send_signal(signal.SIGTERM)
        while client.get("/health").json()["status"] != "draining":
            pass
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        asking.join(STOP_LIMIT)


def test_with_no_one_connected_a_drain_takes_no_longer_than_its_delay() -> None:
    with run_server(GOOGLENET_DRAIN_DELAY="0") as server:
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(STOP_LIMIT)
        assert time.monotonic() - started < 10
