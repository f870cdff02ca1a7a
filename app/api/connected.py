"""Whether anybody still waits for an answer."""

import asyncio
from types import TracebackType
from typing import Any, cast

from fastapi import Request

from app.errors import MalformedBody

PATIENCE = 0.1
"""Seconds after which a request begins to look whether its client is still there."""


class while_connected:
    """Cancels what runs inside when the client goes, so that its place in the queue is free at once.

    Raises MalformedBody then, for the log: nobody is there to read it.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._watcher: asyncio.Task[None] | None = None
        self._inside = True

    async def __aenter__(self) -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._watch)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watcher is None:
            return
        left, self._inside = self._watcher.done(), False
        self._watcher.cancel()
        if left and isinstance(error, asyncio.CancelledError):
            self._task.uncancel()
            self._request.scope["gone"] = True
            raise MalformedBody("the client has gone") from None

    def _watch(self) -> None:
        self._watcher = self._task.get_loop().create_task(self._until_gone())
        self._watcher.add_done_callback(self._leave)

    def _leave(self, watcher: "asyncio.Task[None]") -> None:
        if self._inside and not watcher.cancelled():
            self._task.cancel()

    async def _until_gone(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
