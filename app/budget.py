"""What all requests together may hold: bytes of bodies, and pixels that are being decoded."""

import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from app.errors import QueueFull

UPLOADED = "uploaded"
"""Where a request's scope says how many bytes of its body are held."""


class Uploads:
    """Bytes of bodies in memory; used in the event loop."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    def add(self, scope: MutableMapping[str, Any], size: int) -> None:
        """Raises QueueFull when it is too much."""
        if self.held + size > self.limit:
            raise QueueFull(f"{self.held} bytes are being uploaded already")
        self.held += size
        scope[UPLOADED] = scope.get(UPLOADED, 0) + size

    def end(self, scope: MutableMapping[str, Any]) -> None:
        """When the request has been answered."""
        self.held -= scope.pop(UPLOADED, 0)


class Decoding:
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
