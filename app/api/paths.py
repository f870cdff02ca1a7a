"""The path of a request without the prefix (root path) that a proxy serves the application under."""

from starlette.types import Scope


def strip_prefix(path: str, prefix: str) -> str:
    """The path of a route, as in /predict, from a path that may begin with the prefix and end with a slash."""
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        path = path[len(prefix) :]
    return path.rstrip("/") or "/"


def route_path(scope: Scope) -> str:
    """The path of a route, once app.middleware.root_path has normalised the scope."""
    path: str = scope["path"]
    return path[len(scope.get("root_path", "")) :]
