"""Several workers: one that dies is replaced, a new checkpoint is taken up in place, and the figures add up."""

import dataclasses
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import Server, run_server
from live.test_drain import CLIENTS, Load

from model.checkpoint import Checkpoint

PATIENCE = 60.0


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def workers(server: Server) -> list[int]:
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def said(server: Server, text: str) -> int:
    """How many lines of the log have it."""
    return sum(text in line for line in server.log)


def predictions(server: Server) -> int:
    with server.client() as client:
        counts = re.findall(r"^googlenet_predictions_total\{.*\} (\S+)", client.get("/metrics").text, re.MULTILINE)
    return int(sum(map(float, counts)))


def test_a_worker_that_is_killed_is_replaced(boot: bytes) -> None:
    with run_server(GOOGLENET_WORKERS="2", GOOGLENET_DRAIN_DELAY="0.5") as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        with Load(server, boot) as load:
            os.kill(workers(server)[0], signal.SIGKILL)
            wait_until(lambda: said(server, "startup complete") == 3)
            assert len(workers(server)) == 2
            answered = load.seen[200]
            wait_until(lambda: load.seen[200] > answered + CLIENTS)
            server.process.send_signal(signal.SIGTERM)
        lost = sum(load.seen.values()) - load.seen[200]
        assert 0 < lost <= CLIENTS, load.seen


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
