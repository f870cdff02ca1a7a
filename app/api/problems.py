"""Errors → answers: application/problem+json (RFC 9457) with a stable `code`, for everything that fails.

Under /v2 it is the Open Inference Protocol's {"error": "…"} instead, and what is wrong with an input is 400.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app.errors import InvalidParameter, ServiceError

log = logging.getLogger(__name__)


def problem(error: ServiceError) -> dict[str, str | int]:
    """The body, also used for single pictures of a batch."""
    return _problem(error.status, error.title, error.detail, error.code)


def install(app: FastAPI) -> None:
    """Registers the handlers, the only place where an error becomes a response; async, or each would take a thread."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def of(request: Request, error: Exception) -> Response:
    """The answer to what a handler raised; a defect of ours is logged, as the server would."""
    handler = next(handler for kind, handler in HANDLERS.items() if isinstance(error, kind))
    if handler is _unexpected:
        log.error("a defect of the service", exc_info=error)
    return await handler(request, error)


def answer(scope: Scope, error: ServiceError) -> Response:
    """The whole response, for what is refused before it reaches a handler."""
    return _answer(Request(scope), problem(error), error.headers)


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return _answer(request, problem(error), error.headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
    return _answer(request, problem(InvalidParameter(details)))


async def _http_exception(request: Request, error: Exception) -> Response:
    """404 and 405 from the routing."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    code = status.name.lower().replace("_", "-")
    return _answer(request, _problem(status, status.phrase, status.description, code), dict(error.headers or {}))


async def _unexpected(request: Request, error: Exception) -> Response:
    """A defect of ours; the server logs its traceback."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return _answer(request, _problem(status, status.phrase, "a defect of the service", "internal-error"))


HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    ServiceError: _service_error,
    RequestValidationError: _validation_error,
    HTTPException: _http_exception,
    Exception: _unexpected,
}
"""Looked through in this order."""


def _problem(status: int, title: str, detail: str, code: str) -> dict[str, str | int]:
    return {"type": "about:blank", "title": title, "status": int(status), "detail": detail, "code": code}


def _answer(request: Request, body: dict[str, str | int], headers: dict[str, str] | None = None) -> Response:
    if request.url.path.startswith("/v2/") or request.url.path == "/v2":
        status = 400 if body["status"] in (415, 422) else int(body["status"])
        text = str(body["detail"] or body["title"])
        return Response(json.dumps({"error": text}), status, headers, media_type="application/json")
    return Response(json.dumps(body), int(body["status"]), headers, media_type="application/problem+json")
