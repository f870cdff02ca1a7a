"""What is said about every request: its id, its place in the metrics, its line in the log."""

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


class Journal:
    """One an application; `metrics` are its own."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._prefix = os.urandom(4).hex().encode()
        self._count = itertools.count(1)

    def id_of(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The client's own, if it is fit for a log, or a new one."""
        for name, value in headers:
            if name == b"x-request-id" and PLAIN.fullmatch(value):
                return bytes(value)
        return b"%s-%x" % (self._prefix, next(self._count))

    def note(self, scope: Scope, request_id: bytes, route: str, status: int, seconds: float) -> None:
        """A request that is over. The scope's `seen` is what the handler tells, `gone` that the client left."""
        self._metrics.request(route, status, seconds)
        record(
            log,
            {
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
                "id": request_id.decode(),
                "bytes": _length(scope),
                **scope.get("seen", NOTHING),
                **({"client_gone": True} if "gone" in scope else NOTHING),
            },
        )


def _length(scope: Scope) -> int | None:
    """Of the body, as announced."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None
