"""Stops work for a client that has disconnected."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from fastapi import Request

from app.asgi import CLIENT_DISCONNECTED, ON_DISCONNECT
from app.errors import MalformedBody


@contextmanager
def cancel_on_disconnect(request: Request) -> Iterator[None]:
    """Cancels the block when the client disconnects, so that its places in the queue are free at once.

    app.http.protocol calls the scope's ON_DISCONNECT when a connection ends. Other servers do not: there the block
    runs to its end. Raises MalformedBody after a disconnect; only the request log sees it.
    """
    task, disconnected = cast("asyncio.Task[Any]", asyncio.current_task()), False

    def cancel() -> None:
        nonlocal disconnected
        disconnected = True
        task.cancel()

    request.scope[ON_DISCONNECT] = cancel
    try:
        yield
    except asyncio.CancelledError:
        if not disconnected:
            raise
        task.uncancel()
        request.scope[CLIENT_DISCONNECTED] = True
        raise MalformedBody("the client has disconnected") from None
    finally:
        del request.scope[ON_DISCONNECT]
