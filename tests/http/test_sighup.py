"""SIGHUP: at any time, and any number of times."""

import os
import signal
from pathlib import Path

import pytest
from conftest import Server, run_server
from support.waiting import said, wait_until

from app.inference.cpu import ENGINE_NICENESS


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hangup_during_the_start_is_remembered(tmp_path: Path, workers: int) -> None:
    settings = {"GOOGLENET_ENGINE": "support.faults:HungUp", "FAULT": str(tmp_path / "once")}
    with run_server(GOOGLENET_WORKERS=str(workers), **settings) as server:
        wait_until(lambda: said(server, "is served from now on") >= workers)
        assert said(server, "startup complete") == workers
        assert not said(server, "has ended")


def test_threads_are_no_nicer_after_many_reloads() -> None:
    with run_server() as server:
        for count in range(1, 5):
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda count=count: said(server, "is served from now on") == count)  # type: ignore[misc]
        own = os.getpriority(os.PRIO_PROCESS, server.process.pid)
        assert niceness(server) == {own, min(19, own + ENGINE_NICENESS)}


def niceness(server: Server) -> set[int]:
    """Of all its threads."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return {os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks}
