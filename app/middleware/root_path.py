"""The path of a request without the prefix that the service is behind, and without a slash at its end."""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.paths import strip_prefix


class RootPath:
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
                scope["root_path"], scope["path"] = prefix, prefix + strip_prefix(scope["path"], prefix)
        await self.app(scope, receive, send)
