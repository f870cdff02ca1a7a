"""Sees every request come and go: counts and times it, gives it an id, writes its line in the log."""

import itertools
import logging
import os
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import Metrics

log = logging.getLogger("app.request")

PLAIN = re.compile(rb"[\w.:@/+=-]{1,128}")
"""What an id from outside may look like, so that it can be written into a log."""


class Observer:
    """ASGI middleware, the outermost. `metrics` are the application's."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics
        self._prefix = os.urandom(4).hex()
        self._count = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.monotonic(), 499  # as nginx writes it: the client left before an answer began
        request_id = self._request_id(scope)

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id))
            await send(message)

        try:
            await self.app(scope, receive, send_and_see)
        finally:
            seconds = time.monotonic() - started
            self.metrics.request(_route(scope), status, seconds)
            log.info("%s %s %d %.1f ms %s", scope["method"], scope["path"], status, 1000 * seconds, request_id.decode())

    def _request_id(self, scope: Scope) -> bytes:
        """The client's own, if it is fit for a log, or a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and PLAIN.fullmatch(value):
                return bytes(value)
        return b"%s-%x" % (self._prefix.encode(), next(self._count))


def _route(scope: Scope) -> str:
    """The path as it was registered: no path that a client makes up gets a series of its own."""
    return getattr(scope.get("route"), "path", "unknown")
