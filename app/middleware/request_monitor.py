"""Surrounds every request: id, time, log line, and security headers of its response. Normalises its path."""

import asyncio
import logging
import time

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.api.paths import normalise
from app.api.upload.memory_budget import RESERVED
from app.asgi import CLIENT_DISCONNECTED
from app.errors import NotReady
from app.middleware.request_log import RequestLog
from app.middleware.start_messages import run_lifespan

log = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a request whose client disconnected before the response began."""

SECURITY_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cross-origin-resource-policy", b"same-origin")]
"""Headers that every response gets."""

PAGE_POLICY, PAGE_REFERRER = b"default-src 'none'; frame-ancestors 'none'", b"no-referrer"
"""Content-Security-Policy and Referrer-Policy of HTML pages that set none (app.api.page does)."""

DOCS_POLICY = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
"""Of FastAPI's documentation page, which contains an inline script."""


class RequestMonitor:
    """The outermost ASGI middleware. `request_log` is the application's."""

    def __init__(self, app: ASGIApp, request_log: RequestLog) -> None:
        self.app, self.request_log = app, request_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await run_lifespan(self.app, scope, receive, send)
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        normalise(scope)
        started, status = time.monotonic(), CLIENT_CLOSED_REQUEST
        request_id = self.request_log.request_id(scope["headers"])
        trace = None if self.request_log.tracing is None else self.request_log.tracing.start(scope)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                headers.append((b"x-request-id", request_id))
                headers += SECURITY_HEADERS
                if trace is not None:
                    headers.append((b"traceparent", trace.traceparent))
                _add_page_policy(headers, scope["path"])
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except (asyncio.CancelledError, Exception) as error:
            if status != CLIENT_CLOSED_REQUEST:  # the response has begun
                raise
            await _error_response(scope, error)(scope, receive, send_with_headers)
        finally:
            if RESERVED in scope:
                scope["state"]["uploads"].release(scope)
            if CLIENT_DISCONNECTED in scope:  # set by app.http.protocol and app.api.upload.body
                status = CLIENT_CLOSED_REQUEST
            self.request_log.add(scope, request_id, _route(scope), status, time.monotonic() - started)
            if trace is not None:
                trace.end(scope["method"], _route(scope), status)


def _error_response(scope: Scope, error: BaseException) -> Response:
    """503 to a request that app.http.server has cancelled at the drain limit, 500 after a bug."""
    if isinstance(error, asyncio.CancelledError):
        return problems.error_response(scope, NotReady("the service is stopping"))
    log.error("%s %s failed", scope["method"], _route(scope), exc_info=error)
    return problems.internal_error_response(scope)


def _add_page_policy(headers: list[tuple[bytes, bytes]], path: str) -> None:
    """Restricts what an HTML page may load and where it may send its address."""
    found = dict(headers)
    if found.get(b"content-type", b"").startswith(b"text/html") and b"content-security-policy" not in found:
        headers.append((b"content-security-policy", DOCS_POLICY if path.endswith("/docs") else PAGE_POLICY))
        headers.append((b"referrer-policy", PAGE_REFERRER))


def _route(scope: Scope) -> str:
    """The path of the matched route. The path that was requested could be anything, and make new metrics series."""
    return getattr(scope.get("route"), "path", "unknown")
