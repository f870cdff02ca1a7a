"""Which route a path means: without the prefix that the service is behind, and without a slash at its end."""

from starlette.types import ASGIApp, Receive, Scope, Send


def plain(path: str, prefix: str) -> str:
    """A path as it was sent, with the prefix or without it → the route's, as in /predict."""
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        path = path[len(prefix) :]
    return path.rstrip("/") or "/"


def route_path(scope: Scope) -> str:
    """The same, once Address has seen the request."""
    path: str = scope["path"]
    return path[len(scope.get("root_path", "")) :]


class Address:
    """ASGI middleware, the outermost: everything behind it finds the prefix in `root_path` and at the path's beginning.

    So ASGI wants it, whether the proxy takes the prefix off or leaves it; a redirect instead would lose many a body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            service = scope.get("state", {}).get("service")
            prefix = scope.get("root_path") or (service.settings.root_path if service else "")
            if prefix or scope["path"].endswith("/"):
                scope["root_path"], scope["path"] = prefix, prefix + plain(scope["path"], prefix)
        await self.app(scope, receive, send)
