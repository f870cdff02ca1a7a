"""Several workers: one that dies is replaced, a new checkpoint is taken up in place, and the figures add up."""

import dataclasses
import os
import re
import resource
import signal
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import Server, run_server
from support.load import CLIENTS, Load
from support.sockets import connect, live
from support.waiting import said, wait_until

from app.http.supervisor import HEARTBEAT_TIMEOUT, KILL_DELAY
from model.checkpoint import Checkpoint

BACK = 20.0
"""Seconds in which another takes the place of a worker that has ended; measured: at most 9.3 (docs/operations.md)."""


def workers(server: Server) -> list[int]:
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def predictions(server: Server) -> int:
    with server.client() as client:
        counts = re.findall(r"^googlenet_predictions_total\{.*\} (\S+)", client.get("/metrics").text, re.MULTILINE)
    return int(sum(map(float, counts)))


def test_a_worker_that_is_killed_is_replaced(boot: bytes) -> None:
    with run_server(GOOGLENET_WORKERS="2", GOOGLENET_DRAIN_DELAY="0.5") as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        with Load(server, boot) as load:
            os.kill(workers(server)[0], signal.SIGKILL)
            wait_until(lambda: said(server, "startup complete") == 3, BACK)
            assert len(workers(server)) == 2
            answered = load.seen[200]
            wait_until(lambda: load.seen[200] > answered + CLIENTS)
            server.process.send_signal(signal.SIGTERM)
        lost = sum(load.seen.values()) - load.seen[200]
        assert 0 < lost <= CLIENTS, load.seen


def test_a_worker_that_is_told_to_stop_leaves_the_port_to_the_others(boot: bytes) -> None:
    """One after the other, until those that have replaced them are the only ones. New connections are served."""

    def has_started(count: int) -> bool:
        with connect(server) as connection:
            assert live(connection).startswith(b"HTTP/1.1 200")
        return said(server, "startup complete") == count

    with run_server(GOOGLENET_WORKERS="2", GOOGLENET_DRAIN_DELAY="0") as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        with Load(server, boot, clients=1) as load:
            for count, worker in enumerate(workers(server), start=3):
                os.kill(worker, signal.SIGTERM)
                wait_until(lambda count=count: has_started(count))  # type: ignore[misc]
                assert worker not in workers(server)
            assert_all_answer(server, boot)
            server.process.send_signal(signal.SIGTERM)
        assert set(load.seen) == {200}, load.seen


def test_a_worker_that_cannot_be_started_is_tried_again(boot: bytes) -> None:
    """The supervisor has too few files left: three, of which the heartbeats take two, and the process two more."""
    with run_server(GOOGLENET_WORKERS="2") as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        supervisor = server.process.pid
        limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (limit_with_room_for(3, supervisor), limits[1]))
        os.kill(workers(server)[0], signal.SIGKILL)
        wait_until(lambda: said(server, "no worker can be started: [Errno 24] Too many open files") == 2)
        os.kill(supervisor, signal.SIGHUP)
        wait_until(lambda: said(server, "is served from now on") == 1)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
        wait_until(lambda: said(server, "startup complete") == 3)
        assert_all_answer(server, boot)
        assert "Traceback" not in "".join(server.log)


def limit_with_room_for(files: int, pid: int) -> int:
    """The limit on open files with which the process can open so many more."""
    taken = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return [number for number in range(len(taken) + files) if number not in taken][files - 1] + 1


def test_a_worker_whose_event_loop_stands_still_is_replaced(boot: bytes) -> None:
    with run_server(GOOGLENET_WORKERS="2") as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        stopped = workers(server)[0]
        os.kill(stopped, signal.SIGSTOP)
        wait_until(lambda: said(server, "startup complete") == 3, HEARTBEAT_TIMEOUT + BACK)
        assert said(server, f"worker {stopped} has shown no life") == 1
        assert stopped not in workers(server)
        assert_all_answer(server, boot)


def test_a_worker_whose_engine_is_stuck_is_replaced(boot: bytes, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    settings = {"GOOGLENET_ENGINE": "support.faults:Hanging", "FAULT": str(pipe), "GOOGLENET_REQUEST_TIMEOUT": "1"}
    with run_server(GOOGLENET_WORKERS="2", GOOGLENET_STUCK_LIMIT="3", **settings) as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        before = workers(server)
        os.mkfifo(pipe)
        assert httpx.post(f"{server.url}/predict", files={"file": boot}, timeout=60).status_code == 504
        pipe.unlink()  # for all but the one that reads it, without an end
        wait_until(lambda: said(server, "startup complete") == 3, 3 + BACK)
        assert said(server, "the engine has been stuck for more than 3 s") == 1
        assert len(set(before) & set(workers(server))) == 1
        assert_all_answer(server, boot)


def assert_all_answer(server: Server, boot: bytes) -> None:
    """Each over a connection of its own: whichever worker takes it."""
    for _ in range(20):
        assert httpx.post(f"{server.url}/predict", files={"file": boot}, timeout=60).status_code == 200


def test_a_worker_that_hangs_does_not_hold_up_the_end() -> None:
    with run_server(GOOGLENET_WORKERS="2", GOOGLENET_DRAIN_DELAY="0", GOOGLENET_DRAIN_LIMIT="2") as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        os.kill(workers(server)[0], signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(2 + KILL_DELAY + BACK)
        wait_until(lambda: said(server, "does not end, and is killed") == 1)


def test_the_workers_figures_add_up(boot: bytes) -> None:
    with run_server(GOOGLENET_WORKERS="2") as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        for sent in range(1, 41):  # each over a connection of its own: whichever worker takes it
            assert httpx.post(f"{server.url}/predict", files={"file": boot}, timeout=60).status_code == 200
            assert predictions(server) == sent
        os.kill(workers(server)[0], signal.SIGKILL)
        wait_until(lambda: said(server, "startup complete") == 3)
        assert predictions(server) == 40


@pytest.mark.parametrize("count", [1, 2])
def test_a_new_checkpoint_is_taken_up_under_load(
    boot: bytes, checkpoint: Checkpoint, tmp_path: Path, count: int
) -> None:
    file = tmp_path / "network.safetensors"
    checkpoint.save(file)
    settings = {"GOOGLENET_ENGINE": "torch", "GOOGLENET_CHECKPOINT": str(file), "GOOGLENET_DRAIN_DELAY": "0"}
    with run_server(GOOGLENET_WORKERS=str(count), **settings) as server:
        wait_until(lambda: said(server, "startup complete") == count)
        with Load(server, boot) as load, server.client() as client:
            renamed = dataclasses.replace(checkpoint.metadata, name="another")
            dataclasses.replace(checkpoint, metadata=renamed).save(file)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: said(server, "is served from now on") == count)
            answer = client.post("/predict", files={"file": boot}).json()
            assert answer["model"]["name"] == "another"
            shown = re.findall(r'^googlenet_model_info\{.*,name="([^"]+)".*\} (\S+)', client.get("/metrics").text, re.M)
            assert dict(shown) == {checkpoint.metadata.name: "0.0", "another": "1.0"}
            assert answer["model"]["version"] == Checkpoint.load(file).version[:12] != checkpoint.version[:12]

            damaged = bytearray(file.read_bytes())
            damaged[-1000] ^= 1
            (tmp_path / "part").write_bytes(damaged)
            (tmp_path / "part").replace(file)
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: said(server, "is refused") == count)
            assert client.post("/predict", files={"file": boot}).json()["model"]["name"] == "another"

            head = checkpoint.weights["head.weight"]
            weights = checkpoint.weights | {"head.weight": np.ascontiguousarray(head[::-1])}
            dataclasses.replace(checkpoint, weights=weights).save(file)  # whole, but with other answers
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: said(server, "is refused") == 2 * count)
            assert client.post("/predict", files={"file": boot}).json()["model"]["name"] == "another"
            assert client.get("/health").status_code == 200
            assert "Traceback" not in "".join(server.log)
            server.process.send_signal(signal.SIGTERM)
        assert set(load.seen) == {200}, load.seen
