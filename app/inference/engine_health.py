"""Whether the engine does its work: since when it does not, why it is not trusted, and when it is mended."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Doubt:
    """Why the engine is not trusted, and since when."""

    reason: str
    since: float


class EngineHealth:
    """Of an engine that so many threads feed; times are time.monotonic()'s.

    `recover` is called by one thread at a time: it mends what it can and says whether the engine works.
    """

    def __init__(self, threads: int, recover: Callable[[], bool]) -> None:
        self._recover = recover
        self._mending = threading.Lock()
        self._busy_since: list[float | None] = [None] * threads
        self._failing_since: float | None = None
        self._doubt: _Doubt | None = None

    @property
    def stuck(self) -> float:
        """Seconds for which a thread has been in one batch, no picture has been managed, or answers have been wrong."""
        doubted_since = self._doubt.since if self._doubt else None
        since = [start for start in (*self._busy_since, self._failing_since, doubted_since) if start is not None]
        return time.monotonic() - min(since) if since else 0.0

    @property
    def doubt(self) -> str | None:
        """Why no answer is to be given out; None while the engine is trusted."""
        return self._doubt.reason if self._doubt else None

    def distrust(self, reason: str) -> None:
        """A known picture was classified wrongly: the engine is mended after its next batch."""
        if self._doubt is None:
            log.error("no answers are given out: %s", reason)
        self._doubt = _Doubt(reason, self._doubt.since if self._doubt else time.monotonic())

    def trust(self) -> None:
        """A known picture was classified correctly."""
        if self._doubt is not None:
            log.warning("answers are given out again: a known picture was classified correctly")
        self._doubt = None

    def begin(self, thread: int, now: float) -> None:
        """This thread has a batch from now on."""
        self._busy_since[thread] = now

    def end(self, thread: int) -> None:
        self._busy_since[thread] = None

    def sound(self, succeeded: bool) -> bool:
        """After a batch, of which something succeeded or nothing: whether the engine needs no mending."""
        if not succeeded or self._doubt is not None:
            return False
        self._failing_since = None
        return True

    def mend(self, succeeded: bool) -> None:
        """After a batch that left the engine not sound; notes since when it fails."""
        with self._mending:
            succeeded = self._recover() or succeeded
        if succeeded:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = time.monotonic()
