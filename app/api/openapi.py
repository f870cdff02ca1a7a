"""What /openapi.json says beyond what FastAPI finds in the handlers: every status that occurs, bodies read by hand.

Any request may besides be answered 400, 408 or 431 before it reaches a handler (app.http.protocol). 500 is a defect.
"""

import warnings
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from model.preprocess import SIZE

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """Answers as app.api.problems gives them."""
    return _responses(statuses, "application/problem+json", {"$ref": "#/components/schemas/Problem"})


def protocol_errors(*statuses: int) -> Responses:
    """The same under /v2."""
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return _responses(statuses, "application/json", error)


def _responses(statuses: tuple[int, ...], media_type: str, schema: dict[str, Any]) -> Responses:
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {media_type: {"schema": schema}}}
        for status in statuses
    }


def _in_path(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


_NAME = _in_path("name", "The model's, as /health says it")
_VERSION = _in_path("version", "The checkpoint's digest, shortened, or 1")

_PARAMETERS = {"type": ["object", "null"]}
_INPUT = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"enum": ["image", "pixels"]},
        "shape": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "description": f"[n] of image, [n, {SIZE}, {SIZE}] of pixels",
        },
        "datatype": {"enum": ["BYTES", "UINT8"]},
        "parameters": _PARAMETERS,
        "data": {"type": "array", "description": "Files in base64, or numbers from 0 to 255"},
    },
}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"enum": ["probabilities", "logits", "label"]}, "parameters": _PARAMETERS},
}
_BLACK_DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""A PNG file of one pixel."""

_INFERENCE = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": ["string", "null"]},
        "parameters": _PARAMETERS,
        "inputs": {"type": "array", "minItems": 1, "items": _INPUT},
        "outputs": {"type": ["array", "null"], "items": _OUTPUT},
    },
    "example": {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [_BLACK_DOT]}]},
}
_WITH_BINARY = {
    "type": "string",
    "format": "binary",
    "description": "The same JSON, of the length that Inference-Header-Content-Length says, and the tensors behind it",
}

_INFER_BODY = {
    "required": True,
    "content": {"application/json": {"schema": _INFERENCE}, "application/octet-stream": {"schema": _WITH_BINARY}},
}
_INDEX = {"type": "object", "properties": {"ready": {"type": "boolean"}}}

_ABOUT_MODEL = protocol_errors(401, 404, 503)
_INFER = protocol_errors(400, 401, 404, 408, 413, 503, 504)

Route = dict[str, Any]
"""Arguments of a route's decorator."""

MODELS: Route = {"responses": protocol_errors(401, 503)}
MODEL: Route = {"responses": _ABOUT_MODEL, "openapi_extra": {"parameters": [_NAME]}}
VERSION: Route = {"responses": _ABOUT_MODEL, "openapi_extra": {"parameters": [_NAME, _VERSION]}}
INDEX: Route = {
    "responses": protocol_errors(400, 401, 408, 413, 503),
    "openapi_extra": {"requestBody": {"content": {"application/json": {"schema": _INDEX}}}},
}
INFER: Route = {"responses": _INFER, "openapi_extra": {"parameters": [_NAME], "requestBody": _INFER_BODY}}
INFER_VERSION: Route = {
    "responses": _INFER,
    "openapi_extra": {"parameters": [_NAME, _VERSION], "requestBody": _INFER_BODY},
}


def answer_heads(app: FastAPI, *routers: APIRouter) -> None:
    """HEAD wherever there is GET, as uptime monitors ask; the server leaves the body out. In Allow and document too.

    Called before the routers are included.
    """
    for route in (route for router in (app.router, *routers) for route in router.routes):
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # GET and HEAD are given one operationId, which is mended here
                document = generate()
            for path in document["paths"].values():
                if "head" in path:
                    stem = path["get"]["operationId"].rpartition("_")[0]
                    path["get"]["operationId"] = f"{stem}_get"
                    path["head"] = {**path.pop("head"), "operationId": f"{stem}_head"}
                    responses = path["head"]["responses"]
                    path["head"]["responses"] = {
                        status: {"description": told["description"]} for status, told in responses.items()
                    }
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way of extending it
