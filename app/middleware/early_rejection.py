"""Turns requests away that could not be answered in time, before anything is done for them; and what is no request.

Under twice the load that can be carried, every second request is refused: what that costs is lost for the others.
"""

import asyncio
import json
from collections.abc import Iterable

from starlette.types import Scope

from app.api.paths import strip_prefix
from app.api.problems import problem
from app.errors import ServiceError
from app.inference.admission import AdmissionControl
from app.middleware.request_log import RequestLog
from app.middleware.request_monitor import CAREFUL

PATHS = {"/predict", "/predict/batch", "/explain"}
"""Of requests with pictures; others of them meet the same refusal behind their body."""

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""

NO_REQUEST: Scope = {"method": "-", "headers": ()}
"""Stands in the journal for what is none."""


class EarlyRejection:
    """app.http.protocol asks it with the head of each request. `prefix` may be before paths."""

    def __init__(self, admission: AdmissionControl, journal: RequestLog, prefix: str = "") -> None:
        self._admission, self._journal, self._prefix = admission, journal, prefix
        self._entering = 0
        """Let in, their handlers not yet begun: many come between two turns of the event loop."""

    def refusal(self, scope: Scope) -> Answer | None:
        """The answer to a request that is not let in; None for one that is.

        A browser's from another origin is, for only CORS' own headers make an answer readable to it.
        """
        if scope["method"] != "POST":
            return None
        path = scope["path"]
        if self._prefix or path.endswith("/"):
            path = strip_prefix(path, self._prefix)
        if path not in PATHS:
            return None
        if self._admission.in_progress + self._entering < self._admission.limit:
            if not self._entering:
                asyncio.get_running_loop().call_soon(self._entered)
            self._entering += 1
            return None
        if any(name == b"origin" for name, _ in scope["headers"]):
            return None
        request_id = self._journal.id_of(scope["headers"])
        return self._answer(self._admission.rejection(1), scope, request_id, path)

    def _entered(self) -> None:
        self._entering = 0

    def turn_away(self, error: ServiceError, headers: Iterable[tuple[bytes, bytes]]) -> Answer:
        """The answer to what is no request, or not a whole one; `headers` are those that have come.

        Neither path nor method are noted: they are a stranger's.
        """
        return self._answer(error, NO_REQUEST, self._journal.id_of(headers), "unknown")

    def _answer(self, error: ServiceError, scope: Scope, request_id: bytes, route: str) -> Answer:
        """Noted as given."""
        body = json.dumps(problem(error)).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
            (b"x-request-id", request_id),
            *CAREFUL,
        ]
        self._journal.note(scope, request_id, route, error.status, 0.0)
        return error.status, headers, body
