"""Which route the path of a request means."""

from starlette.types import Scope


def strip_prefix(path: str, prefix: str) -> str:
    """A path as it was sent, with the prefix or without it → the route's, as in /predict."""
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        path = path[len(prefix) :]
    return path.rstrip("/") or "/"


def route_path(scope: Scope) -> str:
    """The same, once app.middleware.root_path has seen the request."""
    path: str = scope["path"]
    return path[len(scope.get("root_path", "")) :]
