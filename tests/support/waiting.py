"""Waits for a condition, or for a line in a server's log."""

import time
from collections.abc import Callable

from conftest import Server

PATIENCE = 60.0


def wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    until = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def said(server: Server, text: str) -> int:
    """How many lines of the log have it."""
    return sum(text in line for line in server.log)
