"""The request log: gives each request an id, counts it in the metrics and logs it in one line."""

import asyncio
import itertools
import logging
import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.types import Scope

from app.asgi import CLIENT_DISCONNECTED, LOG_FIELDS
from app.logs import log_fields
from app.metrics import Metrics

if TYPE_CHECKING:  # importing it loads OpenTelemetry
    from app.tracing.tracing import Tracing

log = logging.getLogger("app.request")

SAFE_ID = re.compile(rb"[\w.:@/+=-]{1,128}")
"""A client's request id that is safe to write into a log."""

SUMMARISED_STATUSES = {429, 503}
"""Under overload, thousands of requests per second are answered with these."""

SUMMARY_INTERVAL = 1.0
"""Seconds whose summarised requests share one line. The first of its kind has a line of its own."""

NO_FIELDS: Mapping[str, Any] = {}


class RequestLog:
    """One for each application. `metrics` are the application's."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.tracing: Tracing | None = None
        """Set by app.main if traces are exported."""
        self._id_prefix = os.urandom(4).hex().encode()
        self._next_id = itertools.count(1)
        self._unlogged: dict[tuple[str, str, int], int] = {}
        """Method, route and status → requests of this interval that have no line yet."""

    def request_id(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The client's X-Request-ID if it is safe to log, else a new one."""
        for name, value in headers:
            if name == b"x-request-id" and SAFE_ID.fullmatch(value):
                return bytes(value)
        return b"%s-%x" % (self._id_prefix, next(self._next_id))

    def add(self, scope: Scope, request_id: bytes, route: str, status: int, seconds: float) -> None:
        """Counts and logs a finished request.

        The scope may have LOG_FIELDS and CLIENT_DISCONNECTED (app.asgi).
        """
        self._metrics.request(route, status, seconds)
        if status in SUMMARISED_STATUSES and self._is_summarised((scope["method"], route, status)):
            return
        log_fields(
            log,
            {
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
                "id": request_id.decode(),
                "bytes": _content_length(scope),
                **scope.get(LOG_FIELDS, NO_FIELDS),
                **({"client_gone": True} if CLIENT_DISCONNECTED in scope else NO_FIELDS),
            },
        )

    def log_summaries(self) -> None:
        """Logs a line for each kind of request that was counted, every SUMMARY_INTERVAL while there are some."""
        unlogged, self._unlogged = self._unlogged, {}
        for kind, count in unlogged.items():
            if count:
                method, route, status = kind
                log_fields(log, {"method": method, "route": route, "status": status, "ms": 0.0, "count": count})
                self._unlogged[kind] = 0
        if self._unlogged:
            asyncio.get_running_loop().call_later(SUMMARY_INTERVAL, self.log_summaries)

    def _is_summarised(self, kind: tuple[str, str, int]) -> bool:
        """Whether the next summary counts this request. False for the first of its kind."""
        if kind in self._unlogged:
            self._unlogged[kind] += 1
            return True
        if not self._unlogged:
            asyncio.get_running_loop().call_later(SUMMARY_INTERVAL, self.log_summaries)
        self._unlogged[kind] = 0
        return False


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None
