"""Rejects requests from their headers alone: when the queue is full, and when they are not valid HTTP.

At twice the capacity every second request is rejected. Time spent on those is lost for the others, so they are
answered before their body is read, routed or parsed.
"""

import asyncio
import re
from collections.abc import Iterable

from starlette.types import Scope

from app.api.paths import strip_prefix
from app.api.problems import encode_problem, problem
from app.asgi import Response
from app.errors import ServiceError
from app.inference.admission import AdmissionControl
from app.middleware.request_log import RequestLog
from app.middleware.request_monitor import SECURITY_HEADERS

PICTURE_PATHS = {"/predict", "/predict/batch", "/explain"}
"""Routes that are rejected early. Other routes that take pictures check the queue after reading the body."""

V1_PREDICT = re.compile(r"/v1/models/[^/]+(/versions/[^/]+)?:predict")
"""Paths of the v1 protocol that are rejected early, too."""

INVALID_REQUEST: Scope = {"method": "-", "headers": ()}
"""What the request log shows of a request that is not valid HTTP."""


class EarlyRejection:
    """Called by app.http.protocol. `prefix` is the root path that may precede a route's path."""

    def __init__(self, admission: AdmissionControl, request_log: RequestLog, prefix: str = "") -> None:
        self._admission, self._request_log, self._prefix = admission, request_log, prefix
        self._starting = 0
        """Accepted requests whose handlers have not run yet. Many can arrive in one iteration of the event loop."""

    def check(self, scope: Scope) -> Response | None:
        """The rejection of a request that the queue has no room for, else None.

        Requests from a browser at another origin are not rejected here: the browser shows a response to its page only
        with CORS headers, which app.middleware.authentication adds.
        """
        if scope["method"] != "POST":
            return None
        path = scope["path"]
        if self._prefix or path.endswith("/"):
            path = strip_prefix(path, self._prefix)
        route = path if path in PICTURE_PATHS else _v1_route(path)
        if route is None:
            return None
        if self._admission.in_progress + self._starting < self._admission.limit:
            if not self._starting:
                asyncio.get_running_loop().call_soon(self._all_started)
            self._starting += 1
            return None
        if any(name == b"origin" for name, _ in scope["headers"]):
            return None
        request_id = self._request_log.request_id(scope["headers"])
        return self._response(self._admission.rejection(1), scope, request_id, route)

    def _all_started(self) -> None:
        self._starting = 0

    def refuse(self, error: ServiceError, headers: Iterable[tuple[bytes, bytes]]) -> Response:
        """The answer to a request that is not valid HTTP; `headers` are those that have arrived.

        Its path and method are not logged, because anybody could write anything there.
        """
        return self._response(error, INVALID_REQUEST, self._request_log.request_id(headers), "unknown")

    def _response(self, error: ServiceError, scope: Scope, request_id: bytes, route: str) -> Response:
        """The error's response, which is logged."""
        tracing = self._request_log.tracing
        trace = None if tracing is None or scope is INVALID_REQUEST else tracing.start(scope)
        status, media_type, body = encode_problem(route, problem(error))
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(body)),
            *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
            (b"x-request-id", request_id),
            *SECURITY_HEADERS,
        ]
        self._request_log.add(scope, request_id, route, status, 0.0)
        if trace is not None:
            headers.append((b"traceparent", trace.traceparent))
            trace.end(scope["method"], route, status)
        return status, headers, body


def _v1_route(path: str) -> str | None:
    """The route of a v1 prediction request, for the metrics: the path itself can be anything. None for other paths."""
    match = V1_PREDICT.fullmatch(path)
    if match is None:
        return None
    return "/v1/models/{name}/versions/{version}:predict" if match[1] else "/v1/models/{name}:predict"
