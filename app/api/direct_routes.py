"""POST routes whose handlers are called directly, without FastAPI's routing and dependency injection.

Those two cost as much CPU time as decoding a small picture. FastAPI still documents the routes like any other.
"""

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.paths import route_path
from app.api.upload.options import query_options


def include_direct_router(app: FastAPI, *routers: APIRouter) -> None:
    """Adds the routes as FastAPI does, and the middleware that calls their handlers as handler(request, options).

    Must be called once, before any middleware is added, so that all middleware sees these requests.
    """
    for router in routers:
        app.include_router(router)
    routes = {route.path: route for router in routers for route in router.routes if isinstance(route, APIRoute)}
    app.add_middleware(DirectRouting, routes=routes)


class DirectRouting:
    """The innermost ASGI middleware: POST requests to the direct routes go to their handlers, all others to FastAPI."""

    def __init__(self, app: ASGIApp, routes: dict[str, APIRoute]) -> None:
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
            response: Response = await route.endpoint(request, query_options(request))
        except Exception as error:
            response = await _error_response(request, error)
        await response(scope, receive, send)


async def _error_response(request: Request, error: Exception) -> Response:
    """By the application's exception handlers, as FastAPI finds them. Raises the error if there is none for it."""
    handlers = request.app.exception_handlers
    handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
    if handler is None:
        raise error
    response: Response = await handler(request, error)  # all are async (app.api.problems)
    return response
