"""The objects that request handlers share: settings, classifier and readiness probe."""

from fastapi import Request

from app.asgi import DRAINING
from app.errors import NotReady, UnknownModel
from app.inference.classifier import Classifier
from app.inference.readiness import KnownAnswerProbe
from app.settings import Settings

ANY_VERSION = "1"
"""An alias of the only version, for clients of /v1 and /v2 that need a number."""


class Service:
    """Created by the application's lifespan. Every request finds it in its state."""

    def __init__(self, settings: Settings, classifier: Classifier) -> None:
        self.settings, self.classifier = settings, classifier
        self.probe = KnownAnswerProbe(classifier)

    @staticmethod
    def from_request(request: Request) -> "Service":
        """Raises NotReady if the application has not been started."""
        service = getattr(request.state, "service", None)
        if not isinstance(service, Service):
            raise NotReady("the service has not been started")
        return service

    def check_model(self, name: str | None, version: str | None) -> None:
        """Raises UnknownModel if `name` or `version` is given and is not that of the served model."""
        checkpoint = self.classifier.checkpoint
        served, served_version = checkpoint.metadata.name, checkpoint.version[:12]
        if name not in (None, served):
            raise UnknownModel(f"there is no model {name[:60]!r}; there is {served}")
        if version not in (None, served_version, ANY_VERSION):
            raise UnknownModel(f"there is no version {version[:60]!r} of {served}; there is {served_version}")

    @property
    def stuck(self) -> bool:
        """Whether the engine has finished no batch, or given no right answer, for longer than STUCK_LIMIT."""
        return self.classifier.batcher.health.stuck_seconds > self.settings.stuck_limit

    async def unready_reason(self, request: Request) -> str | None:
        """Why no pictures should be sent to this process; None if it is ready."""
        return "the service is stopping" if is_draining(request) else await self.probe.failure()


def is_draining(request: Request) -> bool:
    """Whether the process has received a signal to stop. app.http.server sets the flag."""
    return getattr(request.state, DRAINING, False)


def is_stuck(request: Request) -> bool:
    """Whether only a restart of the process can help. False before the application has been started."""
    service = getattr(request.state, "service", None)
    return isinstance(service, Service) and service.stuck
