"""Who is let in: a bound on the pictures under way in number, and one in time. Knows no threads and no engine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import QueueFull
from app.metrics import Metrics

PATIENCE = 0.5
"""Seconds of work, at the rate at which a crowd is answered, beyond which no more is let in …"""

CROWD = 256
"""… and the pictures that make a crowd: fewer are never refused for time."""

WINDOW = 0.25
"""Seconds over which that rate is measured."""


class Admission:
    """Counts pictures from before their decoding to their answer.

    `limit` is the bound in number; `rate` the pictures a second that a crowd is taken to be answered at until there
    has been one. A crowd that would have to wait for long is refused though the queue has room: more would only wait
    longer. Everything is called in the event loop.
    """

    def __init__(self, limit: int, rate: float, metrics: Metrics) -> None:
        self.limit = limit
        self.under_way = 0
        self._rate = rate
        self._metrics = metrics
        self._window_began, self._answered = 0.0, 0

    @property
    def overloaded(self) -> bool:
        """Whether one more picture is refused."""
        return self.under_way >= min(self.limit, max(CROWD, PATIENCE * self._rate))

    @contextmanager
    def admit(self, count: int) -> Iterator[None]:
        """Takes places for pictures that are on their way. Raises QueueFull."""
        if self.overloaded or self.under_way + count > self.limit:
            raise self.refuse(count)
        if self.under_way < CROWD <= self.under_way + count:
            self._window_began, self._answered = time.monotonic(), 0
        self.under_way += count
        try:
            yield
        finally:
            if self.under_way >= CROWD:
                self._measure(count)
            self.under_way -= count

    def refuse(self, count: int) -> QueueFull:
        """What is said to who is not let in: to come back when what is under way has been answered."""
        self._metrics.dropped("rejected", count)
        return QueueFull(f"{self.under_way} pictures are under way already", retry_after=self.under_way / self._rate)

    def _measure(self, count: int) -> None:
        """Of a crowd that has been there for the whole of a window."""
        self._answered += count
        elapsed = time.monotonic() - self._window_began
        if elapsed >= WINDOW:
            self._rate = self._answered / elapsed
            self._window_began, self._answered = time.monotonic(), 0
