"""Access control: API keys, and CORS for browsers on other origins."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import problems
from app.api.paths import route_path
from app.api.service import Service
from app.errors import Unauthorized

PUBLIC_PATHS = {
    "/",
    "/docs",
    "/openapi.json",
    "/health",
    "/health/ready",
    "/health/live",
    "/v2/health/ready",
    "/v2/health/live",
}
PUBLIC_PREFIXES = ("/web/", "/static-offline-docs/")
"""Paths that need no key: probes, and pages whose content is in the public repository anyway."""


class Authentication:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._service: Service | None = None
        self._protected: ASGIApp = self._check_key
        """The application behind what the settings ask for; itself if they name neither keys nor origins."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        service = state.get("service")
        if service is not self._service:  # the application has started
            self._service = service
            needs_key = service is None or state.get("keys") is not None
            checked = self._check_key if needs_key else self.app
            self._protected = _cors(checked, service.settings.origins) if service else checked
        await self._protected(scope, receive, send)

    async def _check_key(self, scope: Scope, receive: Receive, send: Send) -> None:
        keys = scope.get("state", {}).get("keys")
        needs_key = keys is not None and scope["type"] == "http" and not self._is_public(route_path(scope))
        if needs_key and not keys.accept(scope["headers"]):
            error = Unauthorized("send a key as Authorization: Bearer … or X-API-Key")
            await problems.error_response(scope, error)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_public(self, path: str) -> bool:
        if path == "/metrics":
            return self._service is not None and self._service.settings.metrics_open
        if path.startswith("/v2/models/"):
            return path.endswith("/ready")
        if path.startswith("/v1/models/"):  # readiness; what follows a colon computes something
            return ":" not in path
        return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)


def _cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """The application behind CORS headers for these origins; without origins, the application itself."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=("*",),
        expose_headers=("X-Request-ID", "Server-Timing", "Retry-After"),
    )
