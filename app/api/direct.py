"""A route whose handler is called without FastAPI's dependency solver."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError

from app.api.schemas import Options

DEFAULT = Options.model_validate({})


class DirectRoute(APIRoute):
    """Documented by FastAPI as any other; the solver would cost as much as decoding a small picture."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.handle_directly

    async def handle_directly(self, request: Request) -> Response:
        """What the route's handler(request, options) answers. Raises ServiceError, RequestValidationError."""
        options = parse_options(dict(request.query_params)) if request.scope["query_string"] else DEFAULT
        response: Response = await self.endpoint(request, options)
        return response


def parse_options(values: Mapping[str, object]) -> Options:
    """By name. Raises RequestValidationError, as FastAPI does."""
    if unknown := values.keys() - Options.model_fields:
        known = ", ".join(Options.model_fields)
        message = f"there is no such option; there are {known}"
        raise RequestValidationError([{"loc": ("query", name[:60]), "msg": message} for name in sorted(unknown)])
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in error.errors()]) from None
