"""Tracks whether the engine works: how long it has been stuck, why it is unhealthy, and its recovery."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Unhealthy:
    reason: str
    since: float


class EngineHealth:
    """Health of an engine that is used by `threads` threads; times are time.monotonic() seconds.

    `recover` repairs or replaces the engine and returns whether it works. One thread at a time calls it.
    """

    def __init__(self, threads: int, recover: Callable[[], bool]) -> None:
        self._recover = recover
        self._recovery_lock = threading.Lock()
        self._busy_since: list[float | None] = [None] * threads
        self._failing_since: float | None = None
        self._unhealthy: _Unhealthy | None = None

    @property
    def stuck_seconds(self) -> float:
        """How long a thread has been in one batch, every batch has failed, or answers have been wrong: the longest."""
        unhealthy_since = self._unhealthy.since if self._unhealthy else None
        since = [start for start in (*self._busy_since, self._failing_since, unhealthy_since) if start is not None]
        return time.monotonic() - min(since) if since else 0.0

    @property
    def unhealthy_reason(self) -> str | None:
        """Why the engine's answers must not be used; None while it is healthy."""
        return self._unhealthy.reason if self._unhealthy else None

    def mark_unhealthy(self, reason: str) -> None:
        """A known picture was classified wrongly. The engine recovers after its next batch."""
        if self._unhealthy is None:
            log.error("no answers are given out: %s", reason)
        self._unhealthy = _Unhealthy(reason, self._unhealthy.since if self._unhealthy else time.monotonic())

    def mark_healthy(self) -> None:
        """A known picture was classified correctly."""
        if self._unhealthy is not None:
            log.warning("answers are given out again: a known picture was classified correctly")
        self._unhealthy = None

    def batch_started(self, thread: int, now: float) -> None:
        self._busy_since[thread] = now

    def batch_finished(self, thread: int) -> None:
        self._busy_since[thread] = None

    def needs_recovery(self, succeeded: bool) -> bool:
        """After each batch; `succeeded` says whether at least one picture of it got a result."""
        if not succeeded or self._unhealthy is not None:
            return True
        self._failing_since = None
        return False

    def recover(self, succeeded: bool) -> None:
        """After a batch that needs recovery. Notes the start of the failure if the engine does not work afterwards."""
        with self._recovery_lock:
            succeeded = self._recover() or succeeded
        if succeeded:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = time.monotonic()
