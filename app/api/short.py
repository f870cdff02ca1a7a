"""The short way of a request to its handler, for what is called thousands of times a second."""

from inspect import isawaitable

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.address import route_path
from app.api.direct import DirectRoute


def include(app: FastAPI, short: APIRouter) -> None:
    """Adds the routes, documented as any other, and takes POST requests to their paths the short way.

    Called before any middleware is added, so that all of it is on both ways.
    """
    app.include_router(short)
    routes = {route.path: route for route in short.routes if isinstance(route, DirectRoute)}
    app.add_middleware(Fork, routes=routes)


class Fork:
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
