"""Turns errors into responses: application/problem+json (RFC 9457) with a stable `code`.

Under /v1 and /v2 the body is {"error": "…"} instead, as KServe's protocols have it, and 415 and 422 become 400.
"""

import json
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app.api.paths import route_path
from app.errors import InvalidParameter, ServiceError

PROTOCOL_PREFIXES = ("/v1", "/v2")
"""The paths of KServe's inference protocols."""

Problem = dict[str, str | int]
"""The fields of app.api.schemas.Problem."""


def problem(error: ServiceError) -> Problem:
    """The body of an error response, and the entry of an unusable picture in a batch."""
    return _problem(error.status, error.title, error.detail, error.code)


def add_exception_handlers(app: FastAPI) -> None:
    """Registers the only handlers that turn exceptions into responses.

    They are async because Starlette would run others in a thread.
    """
    app.exception_handler(ServiceError)(_service_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    app.exception_handler(HTTPException)(_http_exception)


def internal_error_response(scope: Scope) -> Response:
    """500, for an unexpected exception. app.middleware.request_monitor has logged it."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return _response(scope, _problem(status, status.phrase, "a defect of the service", "internal-error"))


def error_response(scope: Scope, error: ServiceError) -> Response:
    """For errors outside of handlers, such as those in middleware."""
    return _response(scope, problem(error), error.headers)


async def _service_error(request: Request, error: ServiceError) -> Response:
    return error_response(request.scope, error)


async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    details = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
    return error_response(request.scope, InvalidParameter(details))


async def _http_exception(request: Request, error: HTTPException) -> Response:
    """404 and 405 from the routing."""
    status, headers = HTTPStatus(error.status_code), dict(error.headers or {})
    code = status.name.lower().replace("_", "-")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method[:20]} is not for this address, which takes {headers['Allow']}; {_addresses(request)}"
    else:
        detail = f"there is nothing at this address; {_addresses(request)}"
    return _response(request.scope, _problem(status, status.phrase, detail, code), headers)


def _addresses(request: Request) -> str:
    """Helps users of other servers, who try TorchServe's /ping or SageMaker's /invocations."""
    root = request.scope["app_root_path"]
    return (
        f"pictures go to POST {root}/predict, the Open Inference Protocol is under {root}/v2, its version 1 under "
        f"{root}/v1, {root}/docs has it all"
    )


def _problem(status: int, title: str, detail: str, code: str) -> Problem:
    return {"type": "about:blank", "title": title, "status": int(status), "detail": detail, "code": code}


def encode_problem(path: str, body: Problem) -> tuple[int, str, bytes]:
    """Status, content type and body of the error response to a request for the path, which has no root path."""
    status = int(body["status"])
    if path.startswith(PROTOCOL_PREFIXES) and path[3:4] in ("", "/"):
        text = json.dumps({"error": str(body["detail"] or body["title"])})
        return 400 if status in (415, 422) else status, "application/json", text.encode()
    return status, "application/problem+json", json.dumps(body).encode()


def _response(scope: Scope, body: Problem, headers: dict[str, str] | None = None) -> Response:
    status, media_type, content = encode_problem(route_path(scope), body)
    return Response(content, status, headers, media_type=media_type)
