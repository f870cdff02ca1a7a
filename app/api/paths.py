"""The path of a request, and the prefix (root path) that a proxy serves the application under."""

from starlette.types import Scope


def strip_prefix(path: str, prefix: str) -> str:
    """The path of a route, as in /predict, from a path that may begin with the prefix and end with a slash."""
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        path = path[len(prefix) :]
    return path.rstrip("/") or "/"


def normalise(scope: Scope) -> None:
    """Makes `root_path` the prefix and lets `path` start with it, as ASGI requires, even if the proxy removes it.

    Slashes at the end are removed without a redirect: many clients do not send the body again. The prefix is also in
    `app_root_path`, because Starlette's Mount adds its own path to `root_path`.
    """
    service = scope.get("state", {}).get("service")
    prefix = scope.get("root_path") or (service.settings.root_path if service else "")
    if prefix or scope["path"].endswith("/"):
        scope["root_path"], scope["path"] = prefix, prefix + strip_prefix(scope["path"], prefix)
    scope["app_root_path"] = prefix


def route_path(scope: Scope) -> str:
    """The path of a route, of a normalised scope."""
    path: str = scope["path"]
    return path[len(scope["app_root_path"]) :]
