"""Errors → answers: application/problem+json (RFC 9457) with a stable `code`, for everything that fails.

Under /v2 it is the Open Inference Protocol's {"error": "…"} instead, and what is wrong with an input is 400.
"""

import json
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app.api.paths import route_path
from app.errors import InvalidParameter, ServiceError


def problem(error: ServiceError) -> dict[str, str | int]:
    """The body, also used for single pictures of a batch."""
    return _problem(error.status, error.title, error.detail, error.code)


def install(app: FastAPI) -> None:
    """Registers the handlers, the only place where an error becomes a response; async, or each would take a thread."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


def defect(scope: Scope) -> Response:
    """The answer where a defect of ours has been logged (app.middleware.request_monitor)."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    body = _problem(status, status.phrase, "a defect of the service", "internal-error")
    return _answer(Request(scope), body)


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
    status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
    code = status.name.lower().replace("_", "-")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method[:20]} is not for this address, which takes {headers['Allow']}; {_where(request)}"
    else:
        detail = f"there is nothing at this address; {_where(request)}"
    return _answer(request, _problem(status, status.phrase, detail, code), headers)


def _where(request: Request) -> str:
    """For who looks for another server's addresses: TorchServe's /ping, SageMaker's /invocations …"""
    root = request.scope.get("root_path", "")
    return f"pictures go to POST {root}/predict, the Open Inference Protocol is under {root}/v2, {root}/docs has it all"


def _problem(status: int, title: str, detail: str, code: str) -> dict[str, str | int]:
    return {"type": "about:blank", "title": title, "status": int(status), "detail": detail, "code": code}


def _answer(request: Request, body: dict[str, str | int], headers: dict[str, str] | None = None) -> Response:
    path = route_path(request.scope)
    if path.startswith("/v2/") or path == "/v2":
        status = 400 if body["status"] in (415, 422) else int(body["status"])
        text = str(body["detail"] or body["title"])
        return Response(json.dumps({"error": text}), status, headers, media_type="application/json")
    return Response(json.dumps(body), int(body["status"]), headers, media_type="application/problem+json")
