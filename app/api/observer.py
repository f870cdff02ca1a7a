"""Sees every request come and go: counts and times it, gives it an id, writes its line in the log."""

import asyncio
import itertools
import logging
import os
import re
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.budget import UPLOADED
from app.errors import NotReady
from app.logs import record
from app.metrics import Metrics

log = logging.getLogger("app.request")

PLAIN = re.compile(rb"[\w.:@/+=-]{1,128}")
"""What an id from outside may look like, so that it can be written into a log."""

LEFT = 499
"""The status of a request whose client left before an answer began, as nginx writes it."""

NOTHING: dict[str, Any] = {}

CAREFUL = [(b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin")]
"""With every answer."""

PAGES = (b"default-src 'none'; frame-ancestors 'none'", b"no-referrer")
DOCS = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
"""FastAPI's page of documentation has its script in it."""


class Observer:
    """ASGI middleware, the outermost. `metrics` are the application's."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics
        self._prefix = os.urandom(4).hex()
        self._count = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.monotonic(), LEFT
        request_id = self._request_id(scope)

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                headers.append((b"x-request-id", request_id))
                headers += CAREFUL
                _restrain_pages(headers, scope["path"])
            await send(message)

        try:
            await self.app(scope, receive, send_and_see)
        except asyncio.CancelledError:  # by the server, at the end of its patience
            if status != LEFT:
                raise
            await problems.answer(scope, NotReady("the service is stopping"))(scope, receive, send_and_see)
        finally:
            if UPLOADED in scope:
                scope["state"]["uploads"].end(scope)
            seconds, route = time.monotonic() - started, _route(scope)
            if gone := "gone" in scope:  # app.api.direct and app.api.body say so
                status = LEFT
            self.metrics.request(route, status, seconds)
            record(
                log,
                {
                    "method": scope["method"],
                    "route": route,
                    "status": status,
                    "ms": round(1000 * seconds, 1),
                    "id": request_id.decode(),
                    "bytes": _length(scope),
                    **scope.get("seen", NOTHING),  # the handler's own
                    **({"client_gone": True} if gone else NOTHING),
                },
            )

    def _request_id(self, scope: Scope) -> bytes:
        """The client's own, if it is fit for a log, or a new one."""
        for name, value in scope["headers"]:
            if name == b"x-request-id" and PLAIN.fullmatch(value):
                return bytes(value)
        return b"%s-%x" % (self._prefix.encode(), next(self._count))


def _restrain_pages(headers: list[tuple[bytes, bytes]], path: str) -> None:
    """What a page may load and tell, unless it says so itself (app.api.page)."""
    names = [name for name, _ in headers]
    if b"content-security-policy" in names or not any(
        name == b"content-type" and value.startswith(b"text/html") for name, value in headers
    ):
        return
    policy, referrer = PAGES
    headers.append((b"content-security-policy", DOCS if path.startswith("/docs") else policy))
    headers.append((b"referrer-policy", referrer))


def _length(scope: Scope) -> int | None:
    """Of the body, as announced."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None


def _route(scope: Scope) -> str:
    """The path as it was registered: no path that a client makes up gets a series of its own."""
    return getattr(scope.get("route"), "path", "unknown")
