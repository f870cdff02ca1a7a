"""Routes whose handler is called past FastAPI's routing and dependency solver, which cost as much as a small picture.

FastAPI documents such a route as any other.
"""

from collections.abc import Callable, Coroutine, Mapping
from inspect import isawaitable
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.paths import route_path
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


def include(app: FastAPI, short: APIRouter) -> None:
    """Adds the routes, documented as any other, and takes POST requests to their paths the short way.

    Called before any middleware is added, so that all of it is on both ways.
    """
    app.include_router(short)
    routes = {route.path: route for route in short.routes if isinstance(route, DirectRoute)}
    app.add_middleware(DirectRouting, routes=routes)


class DirectRouting:
    """ASGI middleware, the innermost: to the route's handler, past FastAPI's routing; or on to that.

    FastAPI's routing and what is wrapped around it cost as much as decoding a small picture.
    """

    def __init__(self, app: ASGIApp, routes: dict[str, DirectRoute]) -> None:
        self.app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        short = scope["type"] == "http" and scope["method"] == "POST"
        route = self._routes.get(route_path(scope)) if short else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            response = await route.handle_directly(request)
        except Exception as error:
            response = await _answer(request, error)
        await response(scope, receive, send)


async def _answer(request: Request, error: Exception) -> Response:
    """By the application's own handler of such errors, as on the long way; raises the error if there is none."""
    handlers = request.app.exception_handlers
    handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
    if handler is None:
        raise error
    answer = handler(request, error)
    response: Response = await answer if isawaitable(answer) else answer
    return response
