"""SIGHUP while something else goes on: another checkpoint, a death, requests, the end, another kind of engine."""

import asyncio
import dataclasses
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from conftest import Server, run_server
from support.faults import held
from support.waiting import said, wait_until

from model.checkpoint import Checkpoint

TAKEN_UP = "is served from now on"


class Reloaded:
    """A server whose checkpoint is exchanged for the same under another name."""

    def __init__(self, checkpoint: Checkpoint, file: Path) -> None:
        self.checkpoint, self.file = checkpoint, file
        checkpoint.save(file)

    @contextmanager
    def run(self, engine: str, fault: Path, **settings: str) -> Iterator[Server]:
        files = {"GOOGLENET_CHECKPOINT": str(self.file), "FAULT": str(fault), "GOOGLENET_DRAIN_DELAY": "0"}
        with run_server(GOOGLENET_ENGINE=f"support.faults:{engine}", **files, **settings) as server:
            yield server

    def put(self, name: str, server: Server) -> str:
        """The version of what SIGHUP has the server load now."""
        renamed = dataclasses.replace(self.checkpoint.metadata, name=name)
        dataclasses.replace(self.checkpoint, metadata=renamed).save(self.file)
        server.process.send_signal(signal.SIGHUP)
        return Checkpoint.load(self.file).version[:12]


@pytest.fixture
def reloaded(checkpoint: Checkpoint, tmp_path: Path) -> Reloaded:
    return Reloaded(checkpoint, tmp_path / "network.safetensors")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Not there yet."""
    return tmp_path / "pipe"


def served_name(client: httpx.Client) -> str:
    name: str = client.get("/health").json()["model"]["name"]
    return name


def test_a_sighup_while_one_is_loaded_is_not_lost(reloaded: Reloaded, pipe: Path) -> None:
    with reloaded.run("BuildHanging", pipe) as server, server.client() as client:
        os.mkfifo(pipe)
        reloaded.put("second", server)
        with held(pipe):
            reloaded.put("third", server)
            assert client.get("/health").status_code == 200  # asked after the signal, answered after its handling
        wait_until(lambda: served_name(client) == "third")
        assert said(server, TAKEN_UP) == 2


def test_a_load_that_hangs_does_not_hold_up_the_end(reloaded: Reloaded, pipe: Path) -> None:
    with reloaded.run("BuildHanging", pipe) as server:
        os.mkfifo(pipe)
        reloaded.put("second", server)
        with held(pipe):
            server.process.send_signal(signal.SIGINT)  # SIGTERM would end the process itself, once it has drained
            server.process.wait(30)


def test_an_engine_that_comes_back_late_does_not_bring_the_old_checkpoint_back(
    reloaded: Reloaded, pipe: Path, boot: bytes
) -> None:
    with reloaded.run("OldMortal", pipe) as server, server.client() as client:
        os.mkfifo(pipe)
        assert client.post("/predict", files={"file": boot}).status_code == 503
        with held(pipe):
            reloaded.put("second", server)
            wait_until(lambda: said(server, TAKEN_UP) == 1)
        answer = client.post("/predict", files={"file": boot}).json()  # by the thread that was recovering
        assert answer["model"]["name"] == served_name(client) == "second"
        assert "googlenet_engine_restarts_total 0.0" in client.get("/metrics").text


@pytest.mark.parametrize("pictures", [1, 2])
def test_the_version_that_is_told_is_the_one_that_answered(
    reloaded: Reloaded, pipe: Path, boot: bytes, pictures: int
) -> None:
    """One picture waits behind another; of two the first is being computed when the new checkpoint takes over."""
    model = f"/v2/models/{reloaded.checkpoint.metadata.name}/infer"
    pixels = reloaded.checkpoint.golden.pixels[:pictures]
    inputs = [{"name": "pixels", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}]
    settings = {"GOOGLENET_MAX_BATCH_SIZE": "1", "GOOGLENET_REQUEST_TIMEOUT": "300"}
    with reloaded.run("OldHanging", pipe, **settings) as server:

        async def play() -> None:
            os.mkfifo(pipe)
            async with httpx.AsyncClient(base_url=server.url, timeout=300) as client:
                asked = hanging = asyncio.create_task(
                    client.post("/predict", files={"file": boot})
                    if pictures == 1
                    else client.post(model, json={"inputs": inputs})
                )
                with ExitStack() as stack:
                    await asyncio.to_thread(stack.enter_context, held(pipe))
                    if pictures == 1:
                        asked = asyncio.create_task(client.post(model, json={"inputs": inputs}))
                    while (await client.get("/health")).json()["queue"]["images"] < 1:
                        assert not asked.done()
                    version = reloaded.put("second", server)
                    await asyncio.to_thread(wait_until, lambda: said(server, TAKEN_UP) == 1)
                answer = (await asked).json()
                assert (answer["model_version"], len(answer["outputs"])) == (version, 3)
                assert (await hanging).status_code == 200

        asyncio.run(play())


def test_figures_of_another_kind_of_engine_are_not_shown(reloaded: Reloaded, tmp_path: Path) -> None:
    trigger = tmp_path / "trigger"
    with reloaded.run("Changing", trigger) as server, server.client() as client:
        engine = client.get("/health").json()["engine"]
        assert engine["precision"] == "fp32"
        assert engine["pictures_per_second"]
        trigger.touch()
        reloaded.put("second", server)
        wait_until(lambda: said(server, TAKEN_UP) == 1)
        changed = client.get("/health").json()["engine"]
        assert (changed["precision"], changed["pictures_per_second"]) == ("bf16", {})
        assert changed["max_batch_size"] == engine["max_batch_size"]
