"""Readiness: classifies a known picture through the real queue and compares the answer with the expected one."""

import asyncio
import itertools
import time

import numpy as np

from app.errors import NotReady, ServiceError
from app.inference.classifier import Classifier

RESULT_LIFETIME = 1.0
"""Seconds for which a result is reused."""

PROBE_TIMEOUT = 4.0
"""Seconds after which the known picture counts as not classified."""


class KnownAnswerProbe:
    """Classifies one of the checkpoint's golden pictures, whose right answers are known, at most once a second.

    A wrong answer marks the engine unhealthy. The probe then repeats itself until a right answer marks it healthy.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._picture_indices = itertools.cycle(range(len(classifier.checkpoint.golden.pixels)))
        self._running: asyncio.Task[str | None] | None = None
        self._reuse_until = 0.0
        self._repetition: asyncio.Task[None] | None = None

    async def failure(self) -> str | None:
        """What went wrong; None if a known picture was classified correctly at most a second ago.

        The picture goes through the same queue and engine as every other. Concurrent callers share one check.
        """
        if self._running is None or (self._running.done() and time.monotonic() >= self._reuse_until):
            self._running = asyncio.create_task(self._run())
        return await asyncio.shield(self._running)

    async def _run(self) -> str | None:
        started = time.monotonic()
        failure = await self._classify_known_picture(next(self._picture_indices), started + PROBE_TIMEOUT)
        self._reuse_until = (started if failure is None else time.monotonic()) + RESULT_LIFETIME
        return failure

    async def _classify_known_picture(self, index: int, deadline: float) -> str | None:
        classifier = self._classifier
        served = checkpoint, engine = classifier.model.current
        index %= len(engine.golden)
        try:
            (outcome,) = await classifier.batcher.submit([checkpoint.golden.pixels[index]], deadline, urgent=True)
        except NotReady as error:
            outcome = error
        if isinstance(outcome, ServiceError):
            return f"a known picture was not classified: {outcome.detail}"
        if served is not classifier.model.current:  # replaced meanwhile: it is unknown which of the two answered
            return await self._classify_known_picture(index, deadline)
        difference = float(np.abs(outcome.result.probabilities - engine.golden[index]).max())
        if not difference <= engine.tolerance:  # true for NaN too
            failure = f"a known picture was classified wrongly: a probability is off by {difference:.4f}"
            classifier.mark_unhealthy(engine, failure)
            if self._repetition is None or self._repetition.done():
                self._repetition = asyncio.create_task(self._repeat_until_healthy())
            return failure
        classifier.mark_healthy()
        return None

    async def _repeat_until_healthy(self) -> None:
        """The engine must become healthy again even if no request for /health comes."""
        while self._classifier.batcher.health.unhealthy_reason is not None:
            await asyncio.sleep(RESULT_LIFETIME)
            await self.failure()
