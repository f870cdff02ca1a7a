"""Admission control: limits how many pictures are in progress and how long they may have to wait."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import QueueFull
from app.metrics import Metrics

MAX_WAIT = 0.5
"""Seconds. No more pictures are admitted than are answered in that time, at the measured rate."""

MIN_LIMIT = 256
"""Pictures that are admitted at any rate."""

BUSY = MIN_LIMIT // 2
"""Pictures in progress from which on the rate is measured: with fewer the service may be idle in between."""

CROWDED_SHARE = 0.75
"""Share of the limit from which on the service is crowded."""

MIN_RATE_SECONDS, MIN_RATE_ANSWERS = 0.25, 8
"""The rate is measured over at least so many seconds and answers."""


class AdmissionControl:
    """Counts pictures from before their decoding until their answer. All methods are called in the event loop.

    `queue_size` is the limit that is never exceeded. `rate` is an estimate in pictures a second, used until the rate
    has been measured. `timeout` is the longest time in seconds until a picture is answered. `limit` follows the
    measured rate, because a picture beyond it would only wait for longer.
    """

    def __init__(self, queue_size: int, rate: float, timeout: float, metrics: Metrics) -> None:
        self.in_progress = 0
        self._queue_size, self._timeout, self._metrics = queue_size, timeout, metrics
        self._window_start, self._answered = 0.0, 0
        self._set_rate(rate)

    def _set_rate(self, rate: float) -> None:
        self._rate = rate
        self.limit = int(min(self._queue_size, max(MIN_LIMIT, MAX_WAIT * rate)))
        self._metrics.queue_limit.set(self.limit)

    @property
    def overloaded(self) -> bool:
        """Whether one more picture would be refused."""
        return self.in_progress >= self.limit

    @property
    def crowded(self) -> bool:
        """Whether so many pictures are in progress that others may soon be refused."""
        return self.in_progress >= CROWDED_SHARE * self.limit

    @contextmanager
    def admit(self, count: int) -> Iterator[None]:
        """Counts `count` pictures as in progress within the block. Raises QueueFull."""
        if self.overloaded or self.in_progress + count > self._queue_size:
            raise self.rejection(count)
        if self.in_progress < BUSY <= self.in_progress + count:
            self._window_start, self._answered = time.monotonic(), 0
        self.in_progress += count
        try:
            yield
            self._answered += count
            self._measure_rate()
        finally:
            self.in_progress -= count

    def rejection(self, count: int) -> QueueFull:
        """The error for pictures that are not admitted; counts them. Retry-After is when all others are answered."""
        self._metrics.dropped("rejected", count)
        seconds = min(self.in_progress / self._rate, self._timeout)
        return QueueFull(f"{self.in_progress} pictures are in progress already", retry_after=seconds)

    def _measure_rate(self) -> None:
        """After each answer; takes a new rate once the service has been busy for long enough."""
        now = time.monotonic()
        seconds = now - self._window_start
        if self.in_progress < BUSY or self._answered < MIN_RATE_ANSWERS or seconds < MIN_RATE_SECONDS:
            return
        self._set_rate(self._answered / seconds)
        self._window_start, self._answered = now, 0
