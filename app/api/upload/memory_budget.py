"""Limits the bytes of request bodies in memory, and parses large bodies one at a time."""

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar, TypeVarTuple

from app.api.upload.json_body import INLINE_BYTES
from app.errors import QueueFull

RESERVED = "uploaded_bytes"
"""Key in a request's scope: how many bytes of the budget it holds."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class UploadBudget:
    """At most `limit` bytes of request bodies in memory. Used in the event loop."""

    def __init__(self, limit: int) -> None:
        self._limit, self._reserved = limit, 0
        self._parsing = asyncio.Lock()

    def reserve(self, scope: MutableMapping[str, Any], size: int) -> None:
        """Adds `size` bytes to what the request holds. Raises QueueFull beyond the limit."""
        if self._reserved + size > self._limit:
            raise QueueFull(f"{self._reserved} bytes are being uploaded already")
        self._reserved += size
        scope[RESERVED] = scope.get(RESERVED, 0) + size

    def release(self, scope: MutableMapping[str, Any]) -> None:
        """Frees the bytes of a request that has been answered."""
        self._reserved -= scope.pop(RESERVED, 0)

    async def parse(self, size: int, parse: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Parses a body of `size` bytes: a small one at once, more than INLINE_BYTES as `parse_large` does."""
        return parse(*arguments) if size <= INLINE_BYTES else await self.parse_large(parse, *arguments)

    async def parse_large(self, parse: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Parses in a thread, one body at a time: the result can take many times the memory of the body."""
        async with self._parsing:
            return await asyncio.to_thread(parse, *arguments)
