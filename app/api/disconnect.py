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

    app.http.protocol sets CLIENT_DISCONNECTED in the scope when the connection ends, and calls the scope's
    ON_DISCONNECT. Other servers do not: there the block runs to its end. Raises MalformedBody after a disconnect, also
    an earlier one; only the request log sees it.
    """
    if CLIENT_DISCONNECTED in request.scope:
        raise MalformedBody("the client has disconnected")
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    request.scope[ON_DISCONNECT] = task.cancel
    try:
        yield
    except asyncio.CancelledError:
        if CLIENT_DISCONNECTED not in request.scope:
            raise
        task.uncancel()
        raise MalformedBody("the client has disconnected") from None
    finally:
        del request.scope[ON_DISCONNECT]
