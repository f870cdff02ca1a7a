"""Whether anybody still waits for an answer."""

import asyncio
from types import TracebackType
from typing import Any, cast

from fastapi import Request

from app.errors import MalformedBody


class while_connected:
    """Cancels what runs inside when the client goes, so that its place in the queue is free at once.

    app.http.protocol calls the scope's `leave` when a connection ends; under another server what was begun is finished.
    Raises MalformedBody then, for the log: nobody is there to read it.
    """

    def __init__(self, request: Request) -> None:
        self._scope = request.scope
        self._left = False

    async def __aenter__(self) -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._scope["leave"] = self._leave

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._scope["leave"]
        if self._left and isinstance(error, asyncio.CancelledError):
            self._task.uncancel()
            self._scope["gone"] = True
            raise MalformedBody("the client has gone") from None

    def _leave(self) -> None:
        self._left = True
        self._task.cancel()
