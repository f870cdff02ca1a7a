"""What a request's handler works with: the running classifier, its settings and its probe."""

import asyncio
import itertools
import time

import numpy as np
from fastapi import Request

from app.classifier import Classifier
from app.errors import NotReady, ServiceError
from app.settings import Settings

FRESH = 1.0
"""Seconds for which a successful probe counts."""

PROBE_TIMEOUT = 4.0
"""Seconds after which the known picture counts as unanswered."""


class Service:
    """One for each start of the application; handed to requests as their state."""

    def __init__(self, settings: Settings, classifier: Classifier) -> None:
        self.settings, self.classifier = settings, classifier
        self.draining = False
        self._golden = itertools.cycle(range(len(classifier.checkpoint.golden.pixels)))
        self._probing = asyncio.Lock()
        self._fresh_until = 0.0

    @staticmethod
    def of(request: Request) -> "Service":
        """The service behind this request. Raises NotReady if the application has not been started."""
        service = getattr(request.state, "service", None)
        if not isinstance(service, Service):
            raise NotReady("the service has not been started")
        return service

    async def failure(self) -> str | None:
        """None if a known picture was classified correctly at most a second ago, else what went wrong.

        The picture takes the way of every other, through the real queue and engine, one at a time,
        whoever asks.
        """
        async with self._probing:
            if self.draining:
                return "the service is stopping"
            started = time.monotonic()
            if started < self._fresh_until:
                return None
            reason = await self._classify_known_picture(next(self._golden))
            if reason is None:
                self._fresh_until = started + FRESH
            return reason

    async def _classify_known_picture(self, i: int) -> str | None:
        golden, engine = self.classifier.checkpoint.golden, self.classifier.engine
        deadline = time.monotonic() + PROBE_TIMEOUT
        try:
            answer = await self.classifier.batcher.submit(golden.pixels[i], deadline, urgent=True)
        except ServiceError as error:
            return f"a known picture was not classified: {error.detail}"
        off = float(np.abs(answer.result.probabilities - golden.probabilities[i]).max())
        if not off <= engine.tolerance:
            return f"a known picture was classified wrongly: a probability is off by {off:.4f}"
        return None
