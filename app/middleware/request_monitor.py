"""Sees every request come and go: times it, gives it an id, has it noted."""

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.api.upload.memory_budget import RESERVED
from app.errors import NotReady
from app.middleware.request_log import RequestLog

log = logging.getLogger(__name__)

LEFT = 499
"""The status of a request whose client left before an answer began, as nginx writes it."""

CAREFUL = [(b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin")]
"""With every answer."""

PAGES = (b"default-src 'none'; frame-ancestors 'none'", b"no-referrer")
DOCS = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
"""FastAPI's page of documentation has its script in it."""


class RequestMonitor:
    """ASGI middleware, the outermost. `journal` is the application's."""

    def __init__(self, app: ASGIApp, journal: RequestLog) -> None:
        self.app, self.journal = app, journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.monotonic(), LEFT
        request_id = self.journal.id_of(scope["headers"])

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
            await problems.error_response(scope, NotReady("the service is stopping"))(scope, receive, send_and_see)
        except Exception:  # a defect of ours
            if status != LEFT:
                raise
            log.exception("%s %s failed", scope["method"], _route(scope))
            await problems.internal_error_response(scope)(scope, receive, send_and_see)
        finally:
            if RESERVED in scope:
                scope["state"]["uploads"].release(scope)
            if "client_disconnected" in scope:  # app.api.disconnect and app.api.upload.body say so
                status = LEFT
            self.journal.note(scope, request_id, _route(scope), status, time.monotonic() - started)


def _restrain_pages(headers: list[tuple[bytes, bytes]], path: str) -> None:
    """What a page may load and tell, unless it says so itself (app.api.page)."""
    names = [name for name, _ in headers]
    if b"content-security-policy" in names or not any(
        name == b"content-type" and value.startswith(b"text/html") for name, value in headers
    ):
        return
    policy, referrer = PAGES
    headers.append((b"content-security-policy", DOCS if path.endswith("/docs") else policy))
    headers.append((b"referrer-policy", referrer))


def _route(scope: Scope) -> str:
    """The path as it was registered: no path that a client makes up gets a series of its own."""
    return getattr(scope.get("route"), "path", "unknown")
