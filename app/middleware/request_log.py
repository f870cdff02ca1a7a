"""What is said about every request: its id, its place in the metrics, its line in the log."""

import asyncio
import itertools
import logging
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import Scope

from app.logs import record
from app.metrics import Metrics

log = logging.getLogger("app.request")

PLAIN = re.compile(rb"[\w.:@/+=-]{1,128}")
"""What an id from outside may look like, so that it can be written into a log."""

NOTHING: Mapping[str, Any] = {}

REFUSALS = {429, 503}
"""Statuses that come in storms, all alike."""

WINDOW = 1.0
"""Seconds whose refusals of one kind are summed up in a line, but for the first of a storm."""


class RequestLog:
    """One an application; `metrics` are its own."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._prefix = os.urandom(4).hex().encode()
        self._count = itertools.count(1)
        self._refused: dict[tuple[str, str, int], int] = {}
        """By method, route and status: refusals in this window that have no line yet."""

    def id_of(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The client's own, if it is fit for a log, or a new one."""
        for name, value in headers:
            if name == b"x-request-id" and PLAIN.fullmatch(value):
                return bytes(value)
        return b"%s-%x" % (self._prefix, next(self._count))

    def note(self, scope: Scope, request_id: bytes, route: str, status: int, seconds: float) -> None:
        """A request that is over. The scope may have `log_fields` from the handler, and `client_disconnected`."""
        self._metrics.request(route, status, seconds)
        if status in REFUSALS and self._is_summed_up((scope["method"], route, status)):
            return
        record(
            log,
            {
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
                "id": request_id.decode(),
                "bytes": _length(scope),
                **scope.get("log_fields", NOTHING),
                **({"client_gone": True} if "client_disconnected" in scope else NOTHING),
            },
        )

    def sum_up(self) -> None:
        """A line for each kind of refusal that has been counted; kinds without end here."""
        refused, self._refused = self._refused, {}
        for kind, count in refused.items():
            if count:
                method, route, status = kind
                record(log, {"method": method, "route": route, "status": status, "ms": 0.0, "count": count})
                self._refused[kind] = 0
        if self._refused:
            asyncio.get_running_loop().call_later(WINDOW, self.sum_up)

    def _is_summed_up(self, kind: tuple[str, str, int]) -> bool:
        """Whether a line will count this refusal; the first of its kind has one of its own."""
        if kind in self._refused:
            self._refused[kind] += 1
            return True
        if not self._refused:
            asyncio.get_running_loop().call_later(WINDOW, self.sum_up)
        self._refused[kind] = 0
        return False


def _length(scope: Scope) -> int | None:
    """Of the body, as announced."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None
