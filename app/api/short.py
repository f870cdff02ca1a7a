"""The short way of a request to its handler, for what is called thousands of times a second."""

from collections.abc import Sequence
from inspect import isawaitable

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.address import route_path
from app.api.direct import DirectRoute


def include(app: FastAPI, router: APIRouter) -> None:
    """Adds the routes, documented as any other; POST requests to those that are DirectRoutes go the short way.

    It leaves out FastAPI's own middleware and its routing, which cost as much as decoding a small picture. What is
    added to the application as middleware is on both ways.
    """
    app.include_router(router)
    routes = {route.path: route for route in router.routes if isinstance(route, DirectRoute)}
    build = app.build_middleware_stack

    def build_both() -> ASGIApp:
        long, short = build(), _within(app.user_middleware, Direct(routes))

        async def fork(scope: Scope, receive: Receive, send: Send) -> None:
            is_short = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in routes
            await (short if is_short else long)(scope, receive, send)

        return fork

    app.build_middleware_stack = build_both  # type: ignore[method-assign]


def _within(stack: Sequence[Middleware], app: ASGIApp) -> ASGIApp:
    """The application with this middleware around it, the first outermost."""
    for middleware in reversed(stack):
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    return app


class Direct:
    """ASGI application: the handlers of these routes, by path."""

    def __init__(self, routes: dict[str, DirectRoute]) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = scope["route"] = self._routes[route_path(scope)]
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
