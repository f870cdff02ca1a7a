"""Routes whose handlers are called directly, without FastAPI's routing and dependency injection.

Those two cost as much CPU time as decoding a small picture. FastAPI still documents the routes like any other.
"""

from collections.abc import Callable, Coroutine
from inspect import isawaitable
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.paths import route_path
from app.api.upload.options import query_options


class DirectRoute(APIRoute):
    """A route whose handler is called as handler(request, options), without FastAPI's dependency injection."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.handle_directly

    async def handle_directly(self, request: Request) -> Response:
        """The handler's response. Raises ServiceError, RequestValidationError."""
        response: Response = await self.endpoint(request, query_options(request))
        return response


def include_direct_router(app: FastAPI, router: APIRouter) -> None:
    """Adds the routes as FastAPI does, and the middleware that calls their handlers directly.

    Must be called before any middleware is added, so that all middleware sees these requests.
    """
    app.include_router(router)
    routes = {route.path: route for route in router.routes if isinstance(route, DirectRoute)}
    app.add_middleware(DirectRouting, routes=routes)


class DirectRouting:
    """The innermost ASGI middleware: POST requests to the direct routes go to their handlers, all others to FastAPI."""

    def __init__(self, app: ASGIApp, routes: dict[str, DirectRoute]) -> None:
        self.app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        route = self._routes.get(route_path(scope)) if is_post else None
        if route is None:
            await self.app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            response = await route.handle_directly(request)
        except Exception as error:
            response = await _error_response(request, error)
        await response(scope, receive, send)


async def _error_response(request: Request, error: Exception) -> Response:
    """By the application's exception handlers, as FastAPI finds them. Raises the error if there is none for it."""
    handlers = request.app.exception_handlers
    handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
    if handler is None:
        raise error
    result = handler(request, error)
    response: Response = await result if isawaitable(result) else result
    return response
