"""A route whose handler is called without FastAPI's dependency solver."""

from collections.abc import Callable, Coroutine
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
        options = _parse(request) if request.scope["query_string"] else DEFAULT
        response: Response = await self.endpoint(request, options)
        return response


def _parse(request: Request) -> Options:
    """The query, unknown names ignored. Raises RequestValidationError, as FastAPI does."""
    try:
        return Options.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in error.errors()]) from None
