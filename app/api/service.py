"""What a request's handler works with: the running classifier, its settings and its probe."""

import asyncio
import itertools
import time

import numpy as np
from fastapi import Request

from app.errors import NotReady, ServiceError
from app.inference.classifier import Classifier
from app.inference.engines.base import Engine
from app.settings import Settings

FRESH = 1.0
"""Seconds for which a probe's result counts."""

PROBE_TIMEOUT = 4.0
"""Seconds after which the known picture counts as unanswered."""


def draining(request: Request) -> bool:
    """Whether the process has been told to end; app.http.server says so."""
    return getattr(request.state, "draining", False)


def stuck(request: Request) -> bool:
    """Whether only a new process can help; not before the application has been started."""
    service = getattr(request.state, "service", None)
    return isinstance(service, Service) and service.stuck


class Service:
    """One for each start of the application; handed to requests as their state."""

    def __init__(self, settings: Settings, classifier: Classifier) -> None:
        self.settings, self.classifier = settings, classifier
        self._golden = itertools.cycle(range(len(classifier.checkpoint.golden.pixels)))
        self._probe: asyncio.Task[str | None] | None = None
        self._fresh_until = 0.0
        self._asking: asyncio.Task[None] | None = None
        self.parsing = asyncio.Lock()
        """Held while a large body of JSON is parsed: what becomes of it may take many times as much memory."""

    @staticmethod
    def of(request: Request) -> "Service":
        """The service behind this request. Raises NotReady if the application has not been started."""
        service = getattr(request.state, "service", None)
        if not isinstance(service, Service):
            raise NotReady("the service has not been started")
        return service

    @property
    def stuck(self) -> bool:
        """Whether the engine has done nothing, or nothing right, for STUCK_LIMIT."""
        return self.classifier.batcher.health.stuck_seconds > self.settings.stuck_limit

    async def reason(self, request: Request) -> str | None:
        """Why no more should be sent here; None if it is ready."""
        if draining(request):
            return "the service is stopping"
        return await self.failure()

    async def failure(self) -> str | None:
        """None if a known picture was classified correctly at most a second ago, else what went wrong.

        The picture takes the way of every other, through the real queue and engine. Whoever asks while one is
        on its way shares its result.
        """
        if self._probe is None or (self._probe.done() and time.monotonic() >= self._fresh_until):
            self._probe = asyncio.create_task(self._classify_known_picture(next(self._golden)))
        return await asyncio.shield(self._probe)

    async def _classify_known_picture(self, i: int) -> str | None:
        started = time.monotonic()
        reason = await self._compare(i, started + PROBE_TIMEOUT)
        self._fresh_until = (started if reason is None else time.monotonic()) + FRESH
        return reason

    async def _compare(self, i: int, deadline: float) -> str | None:
        served = checkpoint, engine = self.classifier.model.current
        i %= len(engine.golden)
        pixels = checkpoint.golden.pixels[i]
        try:
            (outcome,) = await self.classifier.batcher.submit([pixels], deadline, urgent=True)
        except NotReady as error:
            outcome = error
        if isinstance(outcome, ServiceError):
            return f"a known picture was not classified: {outcome.detail}"
        if served is not self.classifier.model.current:  # exchanged meanwhile: which of the two was it?
            return await self._compare(i, deadline)
        off = float(np.abs(outcome.result.probabilities - engine.golden[i]).max())
        if not off <= engine.tolerance:
            reason = f"a known picture was classified wrongly: a probability is off by {off:.4f}"
            self._distrust(engine, reason)
            return reason
        self.classifier.mark_healthy()
        return None

    def _distrust(self, engine: Engine, reason: str) -> None:
        self.classifier.mark_unhealthy(engine, reason)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_on())

    async def _ask_on(self) -> None:
        """Until the engine is trusted again, though nobody asks for its health."""
        while self.classifier.batcher.health.unhealthy_reason is not None:
            await asyncio.sleep(FRESH)
            await self.failure()
