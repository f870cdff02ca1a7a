"""Exceptions of the client: the service's errors, and those that only a client can meet.

ServiceError
├── the tree of app.errors   the class is found by the `code` in the response
├── UnexpectedResponse       any other response, for example a proxy's 502; it has that response's status and code
├── UnreadablePicture        the picture could not be read here; nothing was sent
└── NoResponse
    ├── ConnectionFailed         nothing listens at the address, the connection broke, or the client was closed
    └── TimedOut                 no response within the client's timeout
"""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx
from pydantic import ValidationError

from app.api.schemas import Problem
from app.errors import ServiceError, Unavailable


class UnexpectedResponse(ServiceError):
    """A response that the service does not define. `code` is the response's, or the name of its status."""

    title = "The service does not define this answer"

    def __init__(self, detail: str, status: int, code: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        status_names = {known.value: known.name.lower().replace("_", "-") for known in HTTPStatus}
        self.code = code or status_names.get(status, "unknown")


class UnreadablePicture(ServiceError):
    status, code, title = 0, "unreadable", "The picture could not be read"


class NoResponse(ServiceError):
    status = 0


class ConnectionFailed(NoResponse):
    code, title = "connection-failed", "The service could not be reached"


class TimedOut(NoResponse):
    code, title = "timed-out", "The service did not answer in time"


def error_from_response(response: httpx.Response) -> ServiceError:
    """The exception for a response that is not a success."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return UnexpectedResponse(f"{response.status_code} {response.reason_phrase}", response.status_code)
    return error_from_problem(problem, retry_after_seconds(response))


def error_from_problem(problem: Problem, retry_after: float | None = None) -> ServiceError:
    """The exception whose code is the problem's; UnexpectedResponse for an unknown code."""
    known = (kind for kind in _subclasses(ServiceError) if getattr(kind, "code", None) == problem.code)
    kind = next(known, None)
    if kind is None:
        return UnexpectedResponse(problem.detail, problem.status, problem.code)
    if issubclass(kind, Unavailable):
        return kind(problem.detail, retry_after=retry_after or 1)
    return kind(problem.detail)


def retry_after_seconds(response: httpx.Response) -> float | None:
    """The Retry-After header in seconds, from either form of RFC 9110, section 10.2.3; None if missing or invalid."""
    value = response.headers.get("retry-after", "")
    try:
        return float(value) if value.isdecimal() else max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _subclasses(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)
