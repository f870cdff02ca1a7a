"""Classifies pictures: admits them, has them prepared, and submits them to the engine's queue.

Each picture is prepared before the queue. A bad picture is refused alone and never reaches a batch.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import ServiceError
from app.inference.admission import AdmissionControl
from app.inference.batching.batcher import Batcher
from app.inference.batching.requests import Answer, Outcome
from app.inference.engines.base import Engine, ahead, lanes
from app.inference.engines.batch_size import useful_batch_size, warm_up
from app.inference.model_handle import ModelHandle
from app.inference.preparation import Preparation, Prepared
from app.inference.quarter_turns import submit_with_quarter_turns
from app.inference.scores import Scores
from app.inference.stage_tracer import StageTracer
from app.metrics import Metrics
from model.checkpoint import Checkpoint
from model.preprocess import BackgroundOption, Mode, Preprocessed, Rotation

if TYPE_CHECKING:  # also used without the web framework
    from app.settings import Settings

log = logging.getLogger(__name__)

MAX_ARRAY_BATCH_SIZE = 64
"""Batch size for pictures that were submitted as one array, if the most useful batch size is smaller."""

ENGINE_SHARE = 0.5
"""The engine's assumed share of the work for a picture, for the first estimate of the rate of answers."""


class Prediction(NamedTuple):
    """One picture's answer."""

    prepared: Prepared
    answer: Answer[Scores]


class Classifier:
    """Owns the engine, its queue and the preparation of pictures."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, settings: "Settings", metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        self._tracer: StageTracer | None = None
        self.model = ModelHandle(checkpoint, engine, settings, metrics)
        self._capacity, self._measured_engine = warm_up(engine, checkpoint.golden.pixels), _kind(engine)
        rates = {size: size / seconds for size, seconds in self._capacity.items()}
        batch_size = settings.max_batch_size or useful_batch_size(self._capacity)
        self.batcher: Batcher[Scores] = Batcher(
            self.model.score,
            self.model.recover,
            lanes=lanes(engine),
            ahead=ahead(engine),
            max_batch_size=batch_size,
            max_array_batch_size=settings.max_batch_size or max(batch_size, MAX_ARRAY_BATCH_SIZE),
            metrics=metrics,
            arriving=lambda: self._preparation.waiting,
        )
        rate = ENGINE_SHARE * max(rates.values())
        self.admission = AdmissionControl(settings.queue_size, rate, settings.request_timeout, metrics)
        self._preparation = Preparation(settings, metrics, lambda: self.admission.crowded)
        log.info(
            "%s on %s in %s; pictures/s by batch size: %s; batches of up to %d",
            *_kind(engine),
            ", ".join(f"{size}: {rate:.0f}" for size, rate in rates.items()),
            batch_size,
        )

    async def classify(
        self, data: bytes, mode: Mode = "auto", background: BackgroundOption = "auto", rotation: Rotation = "auto"
    ) -> Prediction:
        """One picture. Raises ServiceError: UnsupportedFormat, UndecodablePicture, QueueFull, DeadlinePassed, …"""
        deadline = time.monotonic() + self.settings.request_timeout
        with self.admission.admit(1):
            prepared = await self._preparation.prepare(data, mode, background, deadline)
            may_turn = [mode == rotation == "auto"]
            ((outcome, degrees),) = await self._submit([prepared.preprocessed.pixels], deadline, may_turn)
        prediction = self._prediction(prepared, outcome, degrees)
        if isinstance(prediction, ServiceError):
            raise prediction
        return prediction

    async def classify_many(
        self,
        pictures: Sequence[bytes | Preprocessed],
        mode: Mode = "auto",
        background: BackgroundOption = "auto",
        rotation: Rotation = "auto",
    ) -> list[Prediction | ServiceError]:
        """Several pictures, in order, with an error in the place of an unusable one.

        A picture is a file, or preprocessed already: then the options do not apply to it, and it is not rotated.
        Raises QueueFull or NotReady for all of them together, and EngineFailed while the engine is unhealthy.
        """
        deadline = time.monotonic() + self.settings.request_timeout
        with self.admission.admit(len(pictures)):
            prepared = await asyncio.gather(
                *(self._preparation.prepare_or_error(data, mode, background, deadline) for data in pictures)
            )
            usable = [entry.preprocessed.pixels for entry in prepared if isinstance(entry, Prepared)]
            may_turn = [
                mode == rotation == "auto" and isinstance(picture, bytes)
                for picture, entry in zip(pictures, prepared, strict=True)
                if isinstance(entry, Prepared)
            ]
            outcomes = iter(await self._submit(usable, deadline, may_turn))
        return [
            entry if isinstance(entry, ServiceError) else self._prediction(entry, *next(outcomes)) for entry in prepared
        ]

    async def score(self, tensors: Sequence[NDArray[np.uint8] | Sequence[bytes]]) -> list[Scores]:
        """All pictures of all tensors, in order: uint8 [n,96,96] as the network takes them, or n files.

        Raises the ServiceError of the first picture without an answer; the error of an unusable file names image[i].
        """
        deadline = time.monotonic() + self.settings.request_timeout
        with self.admission.admit(sum(map(len, tensors))):
            blocks = [
                t if isinstance(t, np.ndarray) else await self._preparation.prepare_all(t, deadline) for t in tensors
            ]
            pixels = blocks[0] if len(blocks) == 1 else [picture for block in blocks for picture in block]
            may_turn = [turn for t in tensors for turn in [not isinstance(t, np.ndarray)] * len(t)]
            outcomes = [outcome for outcome, _ in await self._submit(pixels, deadline, may_turn)]
        answers = [_answer_or_raise(outcome) for outcome in outcomes]
        asyncio.get_running_loop().call_soon(self._count_all, answers)  # after the response has been sent
        return [answer.result for answer in answers]

    async def _submit(
        self, pixels: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], deadline: float, may_turn: Sequence[bool]
    ) -> list[tuple[Outcome[Scores], int]]:
        outcomes = await submit_with_quarter_turns(self.batcher, pixels, deadline, may_turn)
        if self._tracer is not None:
            self._tracer.answered(outcome for outcome, _ in outcomes)
        return outcomes

    def _prediction(self, prepared: Prepared, outcome: Outcome[Scores], degrees: int) -> Prediction | ServiceError:
        if isinstance(outcome, ServiceError):
            return outcome
        self._count(outcome)
        if degrees:
            prepared = prepared._replace(preprocessed=prepared.preprocessed.rotated(degrees))
        return Prediction(prepared, outcome)

    def _count(self, answer: Answer[Scores]) -> None:
        """Adds the answer to the metrics, by its label."""
        scores, class_id = answer.result, answer.result.class_id
        label, confidence = self.checkpoint.metadata.classes[class_id], float(scores.probabilities[class_id])
        self.metrics.prediction(label, confidence, scores.out_of_distribution, answer.queued)

    def _count_all(self, answers: Sequence[Answer[Scores]]) -> None:
        for answer in answers:
            self._count(answer)

    @property
    def checkpoint(self) -> Checkpoint:
        return self.model.current[0]

    @property
    def engine(self) -> Engine:
        return self.model.current[1]

    @property
    def capacity(self) -> dict[int, float]:
        """Seconds per batch by its size, measured at the start; empty after an engine of another kind took over."""
        return self._capacity if _kind(self.engine) == self._measured_engine else {}

    def mark_unhealthy(self, engine: Engine, reason: str) -> None:
        """The engine classified a known picture wrongly. Pictures get EngineFailed until `mark_healthy`."""
        self.model.unhealthy_engine = engine
        self.batcher.health.mark_unhealthy(reason)

    def mark_healthy(self) -> None:
        """A known picture was classified correctly."""
        self.model.unhealthy_engine = None
        self.batcher.health.mark_healthy()

    def trace(self, tracer: StageTracer) -> None:
        """Reports the stages of every picture from now on."""
        self._tracer = self._preparation.tracer = tracer

    def reload(self) -> None:
        """Loads the checkpoint's file again; it replaces the current one if it is correct."""
        self.model.reload(self.batcher.max_batch_size)

    def start(self) -> None:
        self.batcher.start()

    async def stop(self) -> None:
        """Finishes the accepted pictures."""
        await self.batcher.stop()
        self._preparation.stop()


def _kind(engine: Engine) -> tuple[str, str, str]:
    """The attributes that decide the engine's speed."""
    return engine.name, engine.device, engine.precision


def _answer_or_raise(outcome: Outcome[Scores]) -> Answer[Scores]:
    if isinstance(outcome, ServiceError):
        raise outcome
    return outcome
