"""How many bytes of request bodies the process holds at a time."""

from collections.abc import MutableMapping
from typing import Any

from app.errors import QueueFull

UPLOADED = "uploaded"
"""Where a request's scope says how many bytes of its body are held."""


class UploadBudget:
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
