"""SIGTERM under load: readiness first, then no new work, and nothing that was accepted is lost."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from conftest import STOP_LIMIT, run_server
from support.faults import release
from support.load import CLIENTS, Load
from support.waiting import said, wait_until

ROOM, CROWD = 64, 160


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_request_is_lost_when_stopping_under_load(boot: bytes, workers: str) -> None:
    settings = {"GOOGLENET_WORKERS": workers, "GOOGLENET_DRAIN_DELAY": "1"}
    with run_server(**settings) as server, Load(server, boot) as load:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(STOP_LIMIT)
    assert set(load.seen) == {200}, load.seen
    assert load.seen[200] > CLIENTS


@pytest.mark.parametrize(("number", "delay"), [(signal.SIGTERM, "0"), (signal.SIGTERM, "1"), (signal.SIGINT, "1")])
def test_no_request_is_lost_when_the_process_group_is_told_to_stop(boot: bytes, number: int, delay: str) -> None:
    """As systemd, dumb-init and terminals do: workers get the signal from the supervisor, too."""
    command = ("setsid", sys.executable, "-m", "app")
    with run_server(*command, GOOGLENET_WORKERS="2", GOOGLENET_DRAIN_DELAY=delay) as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        with Load(server, boot) as load:
            os.killpg(server.process.pid, number)
            server.process.wait(STOP_LIMIT)
    assert set(load.seen) == {200}, load.seen
    assert load.seen[200] > CLIENTS
    assert said(server, "shutdown complete") == 2


def test_who_is_refused_while_it_stops_loses_nothing_either(boot: bytes, tmp_path: Path) -> None:
    """There is no room for anybody else until all have been told: they ask again at once, as long as they may."""
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_QUEUE_SIZE": str(ROOM)}
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
    settings = {"GOOGLENET_ENGINE": "support.faults:Slow", "FAULT": str(trigger), "GOOGLENET_MAX_BATCH_SIZE": "1"}
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
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
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


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_ends_it_at_once(boot: bytes, tmp_path: Path, workers: str) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "300"}
    settings |= {"GOOGLENET_DRAIN_LIMIT": "100", "GOOGLENET_WORKERS": workers}
    with run_server(**settings) as server, server.client() as client:
        wait_until(lambda: said(server, "startup complete") == int(workers))
        os.mkfifo(pipe)
        asking = threading.Thread(target=lambda: client.post("/predict", files={"file": boot}))
        asking.start()
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: said(server, "Shutting down") == int(workers))
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        asking.join(STOP_LIMIT)


def test_with_no_one_connected_a_drain_takes_no_longer_than_its_delay() -> None:
    with run_server(GOOGLENET_DRAIN_DELAY="0") as server:
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(STOP_LIMIT)
        assert time.monotonic() - started < 10
