"""Normalises a request's path: handles the prefix of a proxy (root path), and removes slashes at the end."""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.paths import strip_prefix


class RootPath:
    """ASGI middleware around all others but StartMessages.

    Behind it `root_path` holds the prefix and `path` starts with it, as ASGI requires, whether or not the proxy removes
    the prefix. Slashes at the end are removed without a redirect: many clients do not send the body again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            service = scope.get("state", {}).get("service")
            prefix = scope.get("root_path") or (service.settings.root_path if service else "")
            if prefix or scope["path"].endswith("/"):
                scope["root_path"], scope["path"] = prefix, prefix + strip_prefix(scope["path"], prefix)
        await self.app(scope, receive, send)
