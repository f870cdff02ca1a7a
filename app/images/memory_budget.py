"""A limit on the memory of all decoding threads together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DecodeBudget:
    """Room for `limit` pictures of the largest size allowed, or for more smaller ones, at a time."""

    def __init__(self, limit: float) -> None:
        self._free, self._limit = limit, limit
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, share: float) -> Iterator[None]:
        """Waits until there is room for a picture with that share of the largest one's memory, and holds it."""
        share = min(share, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()
