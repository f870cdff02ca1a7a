"""Who gets in: API keys, and browsers from other origins only where they are named."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import problems
from app.api.paths import route_path
from app.api.service import Service
from app.errors import Unauthorized

OPEN = {
    "/",
    "/docs",
    "/openapi.json",
    "/health",
    "/health/ready",
    "/health/live",
    "/v2/health/ready",
    "/v2/health/live",
}
OPEN_FOLDERS = ("/web/", "/static-offline-docs/")
"""What needs no key: probes, and pages that say nothing which is not in the repository."""


class Authentication:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._service: Service | None = None
        self._entry: ASGIApp = self._check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = scope.get("state", {}).get("service")
        if service is not self._service:  # the application has been started
            self._service = service
            self._entry = _with_origins(self._check, service.settings.origins) if service else self._check
        await self._entry(scope, receive, send)

    async def _check(self, scope: Scope, receive: Receive, send: Send) -> None:
        keys = scope.get("state", {}).get("keys")
        if keys is None or scope["type"] != "http" or self._is_open(route_path(scope)) or keys.admit(scope["headers"]):
            await self.app(scope, receive, send)
        else:
            refused = problems.error_response(scope, Unauthorized("send a key as Authorization: Bearer … or X-API-Key"))
            await refused(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        if path == "/metrics":
            return self._service is not None and self._service.settings.metrics_open
        if path.startswith("/v2/models/"):
            return path.endswith("/ready")
        return path in OPEN or path.startswith(OPEN_FOLDERS)


def _with_origins(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=("*",),
        expose_headers=("X-Request-ID", "Server-Timing", "Retry-After"),
    )
