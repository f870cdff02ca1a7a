"""What a client meets when something fails: the service's answers as the error tree, and what is the client's own.

ServiceError
├── …                    all of app.errors, raised by the `code` in the answer
├── OtherAnswer          an answer that is none of them, with its own status and code: 404, a proxy's 502 …
├── Unreadable           the picture could not be read or encoded here: nothing was sent
└── NoAnswer
    ├── ConnectionFailed     nobody listens there, or the connection broke
    └── TimedOut             not within the client's timeout
"""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx
from pydantic import ValidationError

from app.api.schemas import Problem
from app.errors import ServiceError, Unavailable


class OtherAnswer(ServiceError):
    """`status` and `code` are the answer's; without a code, the status' name."""

    title = "The answer is none that the service is known to give"

    def __init__(self, detail: str, status: int, code: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        names = {known.value: known.name.lower().replace("_", "-") for known in HTTPStatus}
        self.code = code or names.get(status, "unknown")


class Unreadable(ServiceError):
    status, code, title = 0, "unreadable", "The picture could not be read"


class NoAnswer(ServiceError):
    status = 0


class ConnectionFailed(NoAnswer):
    code, title = "connection-failed", "The service could not be reached"


class TimedOut(NoAnswer):
    code, title = "timed-out", "The service did not answer in time"


def error_in(response: httpx.Response) -> ServiceError:
    """What an answer that is no success says."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return OtherAnswer(f"{response.status_code} {response.reason_phrase}", response.status_code)
    return error_of(problem, retry_after(response))


def error_of(problem: Problem, pause: float | None = None) -> ServiceError:
    """The exception a problem stands for."""
    kind = next((kind for kind in _tree(ServiceError) if getattr(kind, "code", None) == problem.code), None)
    if kind is None:
        return OtherAnswer(problem.detail, problem.status, problem.code)
    if issubclass(kind, Unavailable):
        return kind(problem.detail, retry_after=pause or 1)
    return kind(problem.detail)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds, from either form that RFC 9110, section 10.2.3 allows; None without one that can be read."""
    value = response.headers.get("retry-after", "")
    try:
        return float(value) if value.isdecimal() else max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _tree(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)
