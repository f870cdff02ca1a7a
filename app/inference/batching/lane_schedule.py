"""Chooses the engine thread and the size of the next batch, and records when the engine began each."""

import threading
from collections import deque

from app.inference.engines.base import MIN_PARALLEL_BATCH


class LaneSchedule:
    """State of the engine's threads: one for each of its `lanes`, and `ahead` more for full batches queued behind them.

    A batch has up to `max_batch_size` pictures, or `max_array_batch_size` if they were submitted as one array, because
    those are answered together anyway. Times are time.monotonic() seconds. The event loop calls `next_batch_size` and
    `start`, each thread calls `finish`.
    """

    def __init__(self, lanes: int, ahead: int, max_batch_size: int, max_array_batch_size: int) -> None:
        self.threads = lanes + ahead
        self._lanes, self._max_batch_size, self._max_array_batch_size = lanes, max_batch_size, max_array_batch_size
        self._batch_sizes = self.threads * [0]
        self._started_at = self.threads * [0.0]
        self._queued_ahead: deque[int] = deque()
        self._lock = threading.Lock()

    @property
    def free_thread(self) -> int | None:
        """The first thread without a batch; None if all have one."""
        return next((thread for thread, size in enumerate(self._batch_sizes) if not size), None)

    def next_batch_size(self, waiting: int, from_array: bool) -> int:
        """Pictures for a free thread out of `waiting`; 0 if it has to wait.

        A small batch runs alone, because it uses all cores. Other batches are shared among the free lanes.
        """
        busy = [size for size in self._batch_sizes if size]
        if busy and min(waiting, *busy) < MIN_PARALLEL_BATCH:
            return 0
        largest = self._max_array_batch_size if from_array else self._max_batch_size
        free_lanes = self._lanes - len(busy)
        if free_lanes <= 0 and (from_array or waiting < largest):
            return 0
        return min(waiting, largest, max(MIN_PARALLEL_BATCH, -(-waiting // max(1, free_lanes))))

    def start(self, thread: int, size: int, now: float) -> None:
        """The thread gets a batch, queued ahead if all lanes are busy."""
        with self._lock:
            if self._lanes <= sum(size > 0 for size in self._batch_sizes):
                self._queued_ahead.append(thread)
            self._batch_sizes[thread], self._started_at[thread] = size, now

    def finish(self, thread: int, now: float) -> None:
        """The thread's batch is done, and the engine starts the batch that has been queued ahead for longest."""
        with self._lock:
            self._batch_sizes[thread] = 0
            if thread in self._queued_ahead:
                self._queued_ahead.remove(thread)
            elif self._queued_ahead:
                self._started_at[self._queued_ahead.popleft()] = now

    def started_at(self, thread: int) -> float:
        """When the engine started the thread's batch, as far as is known."""
        return self._started_at[thread]
