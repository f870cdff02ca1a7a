"""The short way of a request to its handler, for what is called thousands of times a second."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError

from app.api.schemas import Options
from app.errors import MalformedBody

DEFAULT = Options.model_validate({})

PATIENCE = 0.1
"""Seconds after which a request begins to look whether its client is still there."""


class DirectRoute(APIRoute):
    """A route of FastAPI, documented as any other, whose handler(request, options) is called without its dependency
    solver, which would cost as much as decoding a small picture."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            options = _parse(request) if request.scope["query_string"] else DEFAULT
            response: Response = await endpoint(request, options)
            return response

        return handle


def _parse(request: Request) -> Options:
    """The query, unknown names ignored. Raises RequestValidationError, as FastAPI does."""
    try:
        return Options.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in error.errors()]) from None


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancels what runs inside when the client goes, so that its place in the queue is free at once.

    Raises MalformedBody then, for the log: nobody is there to read it.
    """
    task, loop = cast("asyncio.Task[Any]", asyncio.current_task()), asyncio.get_running_loop()
    watcher: asyncio.Task[None] | None = None

    def watch() -> None:
        nonlocal watcher
        watcher = loop.create_task(_gone(request))
        watcher.add_done_callback(lambda done: None if done.cancelled() else task.cancel())

    timer = loop.call_later(PATIENCE, watch)
    try:
        yield
    except asyncio.CancelledError:
        if watcher is None or not watcher.done():
            raise
        task.uncancel()
        request.scope["gone"] = True
        raise MalformedBody("the client has gone") from None
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
