"""Adds to /openapi.json what FastAPI cannot see: bodies that are parsed by hand, error responses, and HEAD requests.

Any request can also be answered 400, 408 or 431 by app.http.protocol, before it reaches a handler. 500 is not
documented, because it is always a bug.
"""

import warnings
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from app.api.schemas import Options
from app.settings import MAX_PICTURES

Responses = dict[int | str, dict[str, Any]]
Handler = TypeVar("Handler", bound=Callable[..., Any])

FILE = {"type": "string", "format": "binary"}
TEXT = {"type": "string", "description": "A picture's file in base64, or as a data: URL"}
OPTIONS = Options.model_json_schema()["properties"]

IMAGE_TYPES = ("png", "jpeg", "webp", "avif", "heic", "heif", "gif", "bmp", "tiff")
PICTURE_TYPES = (*(f"image/{name}" for name in IMAGE_TYPES), "application/octet-stream")
"""Content types of a body that is one picture."""

NOTES = (
    "In JSON and in text fields a picture is base64 or a data: URL. Options may be fields of the body too; the query "
    "overrides them. Content-Encoding may be gzip or deflate."
)


def problem_responses(*statuses: int) -> Responses:
    """Responses with the body that app.api.problems writes."""
    return error_responses(statuses, "application/problem+json", {"$ref": "#/components/schemas/Problem"})


def error_responses(statuses: tuple[int, ...], media_type: str, schema: dict[str, Any]) -> Responses:
    """For the argument `responses` of a route."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {media_type: {"schema": schema}}}
        for status in statuses
    }


def protocol_errors(*statuses: int) -> Responses:
    """Responses with the error body of KServe's protocols, for the routes under /v1 and /v2."""
    schema = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    return error_responses(statuses, "application/json", schema)


def _path_parameter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


MODEL_NAME = _path_parameter("name", "The model's name, as in /health")
MODEL_VERSION = _path_parameter("version", "The first digits of the checkpoint's SHA-256, or 1")
MODEL_PATHS = {"/models/{name}/versions/{version}": [MODEL_NAME, MODEL_VERSION], "/models/{name}": [MODEL_NAME]}


def model_routes(
    router: APIRouter, method: str, path: str, summary: str, responses: Responses, body: dict[str, Any] | None = None
) -> Callable[[Handler], Handler]:
    """Decorates the handler of two routes under /v1 or /v2: `path` after a model's name, and after its version."""

    def add_routes(handler: Handler) -> Handler:
        for prefix, parameters in MODEL_PATHS.items():
            extra = {"parameters": parameters, **({"requestBody": body} if body else {})}
            route = router.api_route(
                prefix + path, methods=[method], summary=summary, responses=responses, openapi_extra=extra
            )
            route(handler)
        return handler

    return add_routes


ONE_PIXEL_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""A picture for examples, in base64."""


def _picture_body(description: str, form_field: str, json_key: str, *, many: bool) -> dict[str, Any]:
    """For the argument `openapi_extra` of a route that takes one picture, or many."""

    def object_schema(key: str, value: dict[str, Any]) -> dict[str, Any]:
        values = {"type": "array", "items": value, "minItems": 1, "maxItems": MAX_PICTURES}
        return {"type": "object", "properties": {key: values if many else value, **OPTIONS}, "required": [key]}

    content = {
        "multipart/form-data": {"schema": object_schema(form_field, FILE)},
        "application/json": {"schema": {**object_schema(json_key, TEXT), "additionalProperties": False}},
        "application/x-www-form-urlencoded": {"schema": object_schema(form_field, TEXT)},
        **{media_type: {"schema": FILE} for media_type in (() if many else PICTURE_TYPES)},
    }
    return {"requestBody": {"required": True, "description": f"{description} {NOTES}", "content": content}}


ONE_PICTURE = _picture_body(
    "One picture: as the part `file` (or `image`) of a form, where a single file may have any name, as `image` of a "
    "JSON object, or as the whole body.",
    form_field="file",
    json_key="image",
    many=False,
)

MANY_PICTURES = _picture_body(
    f"Up to {MAX_PICTURES} pictures: as repeated parts `files` of a form, or as a list `images` in JSON.",
    form_field="files",
    json_key="images",
    many=True,
)


def add_head_methods(app: FastAPI, *routers: APIRouter) -> None:
    """Makes every GET route answer HEAD, which uptime monitors send, and documents that. The server omits the body.

    Must be called before the routers are included.
    """
    for route in (route for router in (app.router, *routers) for route in router.routes):
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # FastAPI gives GET and HEAD the same operationId
                _separate_head(generate())
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema


def _separate_head(document: dict[str, Any]) -> None:
    """Gives HEAD its own operationId, and responses without a body."""
    for path in document["paths"].values():
        if "head" in path:
            stem = path["get"]["operationId"].rpartition("_")[0]
            path["get"]["operationId"] = f"{stem}_get"
            path["head"] = {**path.pop("head"), "operationId": f"{stem}_head"}
            responses = path["head"]["responses"].items()
            path["head"]["responses"] = {status: {"description": r["description"]} for status, r in responses}
