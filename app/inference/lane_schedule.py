"""Which thread takes how many of the pictures that wait, and when the engine begins with them."""

import threading
from collections import deque

from app.inference.cpu import SIDE_BY_SIDE


class LaneSchedule:
    """Of an engine with so many lanes, to which `ahead` more full batches may be given while all of them are busy.

    A batch has up to `largest` pictures, or `largest_block` where they came as one array: those are answered together
    anyway. Numbers are those of the threads; times are time.monotonic()'s. The event loop asks for shares and begins;
    each thread says when it is done.
    """

    def __init__(self, lanes: int, ahead: int, largest: int, largest_block: int) -> None:
        self.threads = lanes + ahead
        self._lanes, self._largest, self._largest_block = lanes, largest, largest_block
        self._computing = self.threads * [0]
        self._begun = self.threads * [0.0]
        self._ahead: deque[int] = deque()
        self._lock = threading.Lock()

    @property
    def free(self) -> int | None:
        """A thread that has nothing; None if all have."""
        return next((thread for thread, size in enumerate(self._computing) if not size), None)

    def share(self, waiting: int, block: bool) -> int:
        """How many of the pictures that wait, the first in a block or not, a free thread takes now.

        A small batch runs alone, on all that the engine has.
        """
        busy = [size for size in self._computing if size]
        if busy and min(waiting, *busy) < SIDE_BY_SIDE:
            return 0
        largest = self._largest_block if block else self._largest
        free = self._lanes - len(busy)
        if free <= 0 and (block or waiting < largest):
            return 0
        return min(waiting, largest, max(SIDE_BY_SIDE, -(-waiting // max(1, free))))

    def begin(self, thread: int, size: int, now: float) -> None:
        """This thread has taken so many."""
        with self._lock:
            if self._lanes <= sum(size > 0 for size in self._computing):
                self._ahead.append(thread)
            self._computing[thread], self._begun[thread] = size, now

    def done(self, thread: int, now: float) -> None:
        """The engine begins with what it has had ahead for longest."""
        with self._lock:
            self._computing[thread] = 0
            if thread in self._ahead:
                self._ahead.remove(thread)
            elif self._ahead:
                self._begun[self._ahead.popleft()] = now

    def begun(self, thread: int) -> float:
        """When the engine began with this thread's batch, as far as is known."""
        return self._begun[thread]
