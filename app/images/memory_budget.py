"""How many pixels all requests together may decode at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DecodeBudget:
    """Pictures in decoding threads, counted in the largest that are allowed: so many at once, and many small ones."""

    def __init__(self, limit: float) -> None:
        self._free, self._limit = limit, limit
        self._changed = threading.Condition()

    @contextmanager
    def take(self, share: float) -> Iterator[None]:
        """Waits until there is room; `share` of the largest picture."""
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
