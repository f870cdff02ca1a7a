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

WINDOW, FEW = 0.25, 8
"""Seconds, and answers, over which that rate is measured at least, while there are half as many as make a crowd."""


class AdmissionControl:
    """Counts pictures from before their decoding to their answer.

    `limit` is the bound in number, `bound` what it comes to now; `rate` the pictures a second that a crowd is taken to
    be answered at until there has been one; `longest` the seconds by which everything is answered one way or another.
    A crowd that would have to wait for long is refused though the queue has room: more would only wait longer. Called
    in the event loop.
    """

    def __init__(self, limit: int, rate: float, longest: float, metrics: Metrics) -> None:
        self.limit, self.under_way = limit, 0
        self._longest, self._metrics = longest, metrics
        self._window_began, self._answered = 0.0, 0
        self._take(rate)

    def _take(self, rate: float) -> None:
        """Bounds by it from now on."""
        self._rate = rate
        self.bound = int(min(self.limit, max(CROWD, PATIENCE * rate)))
        self._metrics.queue_limit.set(self.bound)

    @property
    def overloaded(self) -> bool:
        """Whether one more picture is refused."""
        return self.under_way >= self.bound

    @contextmanager
    def admit(self, count: int) -> Iterator[None]:
        """Takes places for pictures that are on their way. Raises QueueFull."""
        if self.overloaded or self.under_way + count > self.limit:
            raise self.refuse(count)
        if self.under_way < CROWD // 2 <= self.under_way + count:
            self._window_began, self._answered = time.monotonic(), 0
        self.under_way += count
        try:
            yield
            self._answered += count
            self._measure()
        finally:
            self.under_way -= count

    def refuse(self, count: int) -> QueueFull:
        """What is said to who is not let in: to come back when what is under way has been answered."""
        self._metrics.dropped("rejected", count)
        seconds = min(self.under_way / self._rate, self._longest)
        return QueueFull(f"{self.under_way} pictures are under way already", retry_after=seconds)

    def _measure(self) -> None:
        """Called with every answer; closes a window that has been busy for long enough."""
        now = time.monotonic()
        if self.under_way < CROWD // 2 or self._answered < FEW or now - self._window_began < WINDOW:
            return
        self._take(self._answered / (now - self._window_began))
        self._window_began, self._answered = now, 0
