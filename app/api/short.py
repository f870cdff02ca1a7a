"""The short way of a request to its handler, for what is called thousands of times a second."""

from fastapi import APIRouter, FastAPI, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import problems
from app.api.direct import DirectRoute


def include(app: FastAPI, short: APIRouter) -> None:
    """Adds the routes, documented as any other, and takes POST requests to their paths the short way."""
    app.include_router(short)
    routes = {route.path: route for route in short.routes if isinstance(route, DirectRoute)}
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: Fork(app, routes, build())  # type: ignore[method-assign]


class Fork:
    """ASGI: the middleware that was added to the application and then the route's handler; for all else `long`.

    FastAPI's own middleware and routing, which are passed by, cost as much as decoding a small picture.
    """

    def __init__(self, app: FastAPI, routes: dict[str, DirectRoute], long: ASGIApp) -> None:
        self._routes, self._long = routes, long
        self._short: ASGIApp = self._answer
        for middleware in reversed(app.user_middleware):
            self._short = middleware.cls(self._short, *middleware.args, **middleware.kwargs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        short = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._routes
        await (self._short if short else self._long)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = scope["route"] = self._routes[scope["path"]]
        request = Request(scope, receive, send)
        try:
            response = await route.handle_directly(request)
        except Exception as error:
            response = await problems.of(request, error)
        await response(scope, receive, send)
