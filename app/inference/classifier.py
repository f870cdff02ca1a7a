"""THE PATH of a picture: bytes → decode → preprocess → batcher → engine → labels → Prediction.

Decoding and preprocessing happen per picture before the queue, so a bad picture is refused alone and
never reaches a batch.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.errors import DeadlinePassed, ServiceError
from app.images.decode import decode_and_preprocess, open_picture
from app.images.memory_budget import DecodeBudget
from app.inference.admission import AdmissionControl
from app.inference.batcher import Answer, Batcher
from app.inference.cpu import usable_cores
from app.inference.engines.base import Engine, ahead, lanes
from app.inference.engines.batch_size import useful_batch_size, warm_up
from app.inference.loop_throttle import LoopThrottle
from app.inference.model_handle import Served
from app.inference.quarter_turns import submit_upright
from app.inference.scores import Scores, score
from app.metrics import Metrics
from model.checkpoint import Checkpoint
from model.preprocess import Ground, Mode, Preprocessed, Rotation

if TYPE_CHECKING:  # the path also runs where there is no HTTP
    from app.settings import Settings

log = logging.getLogger(__name__)

INLINE_BYTES = 16 * 1024
"""A file up to this size has its header read at once; decoding it may still take a thread."""

BLOCK = 64
"""Pictures that came as one array and are computed together, where that is more than the most useful batch."""

ENGINES_PART = 0.5
"""Of the work for a picture, what the engine is taken to be until a crowd has been answered."""

AT_A_TIME = 4
"""Tiny pictures that are decoded each time around the event loop: more keep those waiting who are turned away."""

FEW = 16
"""Of so many files that come together, tiny ones are decoded at once."""

LARGEST_AT_ONCE = 4
"""Pictures of the largest size allowed that are decoded at a time, however many cores there are."""


@dataclass(frozen=True)
class Prepared:
    """A picture ready for the network, and the seconds that took."""

    preprocessed: Preprocessed
    seconds: float


@dataclass(frozen=True)
class Prediction:
    """One picture's answer."""

    prepared: Prepared
    answer: Answer[Scores]


class Classifier:
    """Owns the engine, its queue and the decoding threads."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, settings: "Settings", metrics: Metrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.served = Served(checkpoint, engine, settings, metrics)
        self._measured, capacity = _kind(engine), warm_up(engine, checkpoint.golden.pixels)
        self._capacity = capacity
        batch_size = settings.max_batch_size or useful_batch_size(capacity)
        self._turns = LoopThrottle(AT_A_TIME)
        self.batcher: Batcher[Scores] = Batcher(
            self._infer,
            self.served.recover,
            lanes=lanes(engine),
            ahead=ahead(engine),
            max_batch_size=batch_size,
            max_block_size=settings.max_batch_size or max(batch_size, BLOCK),
            metrics=metrics,
            arriving=lambda: self._turns.waiting,
        )
        rate = max(size / seconds for size, seconds in capacity.items())
        self.admission = AdmissionControl(settings.queue_size, ENGINES_PART * rate, settings.request_timeout, metrics)
        self._decoding = DecodeBudget(LARGEST_AT_ONCE)
        self._decoders = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")
        rates = ", ".join(f"{size}: {size / seconds:.0f}" for size, seconds in capacity.items())
        log.info(
            "%s on %s in %s; pictures/s by batch size: %s; batches of up to %d",
            *(engine.name, engine.device, engine.precision, rates, batch_size),
        )

    @property
    def checkpoint(self) -> Checkpoint:
        return self.served.now[0]

    @property
    def engine(self) -> Engine:
        return self.served.now[1]

    @property
    def capacity(self) -> dict[int, float]:
        """Seconds per batch by its size, measured at the start; empty where another kind of engine serves since."""
        return self._capacity if _kind(self.engine) == self._measured else {}

    def distrust(self, engine: Engine, reason: str) -> None:
        """It has classified a known picture wrongly: it is replaced, and until `trust` pictures get EngineFailed."""
        self.served.doubted = engine
        self.batcher.vitals.distrust(reason)

    def trust(self) -> None:
        """A known picture was classified correctly."""
        self.served.doubted = None
        self.batcher.vitals.trust()

    def reload(self) -> None:
        """Takes up the checkpoint's file as it is now, if it is good."""
        self.served.reload(self.batcher.max_batch_size)

    def start(self) -> None:
        self.batcher.start()

    async def stop(self) -> None:
        """Finishes what was accepted."""
        await self.batcher.stop()
        self._decoders.shutdown(wait=False)

    async def classify(
        self, data: bytes, mode: Mode = "auto", background: Ground = "auto", rotation: Rotation = "auto"
    ) -> Prediction:
        """One picture. Raises ServiceError: UnsupportedFormat, UndecodablePicture, QueueFull, DeadlinePassed, …"""
        deadline = time.monotonic() + self.settings.request_timeout
        with self.admission.admit(1):
            prepared = await self._prepare(data, mode, background, deadline)
            may_turn = [mode == rotation == "auto"]
            ((outcome, degrees),) = await submit_upright(
                self.batcher, [prepared.preprocessed.pixels], deadline, may_turn
            )
        prediction = self._joined(prepared, outcome, degrees)
        if isinstance(prediction, ServiceError):
            raise prediction
        return prediction

    async def classify_many(
        self,
        pictures: Sequence[bytes],
        mode: Mode = "auto",
        background: Ground = "auto",
        rotation: Rotation = "auto",
    ) -> list[Prediction | ServiceError]:
        """Several pictures, in order; an error stands in the place of an unusable one.

        Raises QueueFull or NotReady for all of them together, or EngineFailed where the engine is not trusted.
        """
        deadline = time.monotonic() + self.settings.request_timeout
        with self.admission.admit(len(pictures)):
            prepared = await asyncio.gather(
                *(self._prepare_or_error(data, mode, background, deadline) for data in pictures)
            )
            usable = [entry.preprocessed.pixels for entry in prepared if isinstance(entry, Prepared)]
            may_turn = [mode == rotation == "auto"] * len(usable)
            outcomes = iter(await submit_upright(self.batcher, usable, deadline, may_turn))
        return [
            entry if isinstance(entry, ServiceError) else self._joined(entry, *next(outcomes)) for entry in prepared
        ]

    async def score(self, tensors: Sequence[NDArray[np.uint8] | Sequence[bytes]]) -> list[Scores]:
        """All pictures of all tensors, in order: uint8 [n,96,96] as the network takes them, or n files.

        All or nothing: raises the ServiceError of the first that gets no answer; an unusable file is called image[i].
        """
        deadline = time.monotonic() + self.settings.request_timeout
        with self.admission.admit(sum(map(len, tensors))):
            blocks = [t if isinstance(t, np.ndarray) else await self._prepare_all(t, deadline) for t in tensors]
            pixels = blocks[0] if len(blocks) == 1 else [picture for block in blocks for picture in block]
            may_turn = [turn for t in tensors for turn in [not isinstance(t, np.ndarray)] * len(t)]
            outcomes = [outcome for outcome, _ in await submit_upright(self.batcher, pixels, deadline, may_turn)]
        answers = [_answer_or_raise(outcome) for outcome in outcomes]
        asyncio.get_running_loop().call_soon(self._observe, answers)  # when the response is on its way
        return [answer.result for answer in answers]

    async def _prepare_all(self, files: Sequence[bytes], deadline: float) -> list[NDArray[np.uint8]]:
        """Several in threads even if they are tiny, so that others are served in between."""
        inline = len(files) <= FEW
        prepared = await asyncio.gather(
            *(self._prepare_or_error(data, "auto", "auto", deadline, inline) for data in files)
        )
        for i, entry in enumerate(prepared):
            if isinstance(entry, ServiceError):
                entry.detail = f"image[{i}]: {entry.detail}"
                raise entry
        return [entry.preprocessed.pixels for entry in prepared if isinstance(entry, Prepared)]

    def _observe(self, answers: Sequence[Answer[Scores]]) -> None:
        for answer in answers:
            self._count(answer)

    async def _prepare_or_error(
        self, data: bytes, mode: Mode, background: Ground, deadline: float, inline: bool = True
    ) -> Prepared | ServiceError:
        try:
            return await self._prepare(data, mode, background, deadline, inline)
        except ServiceError as error:
            return error

    async def _prepare(
        self, data: bytes, mode: Mode, background: Ground, deadline: float, inline: bool = True
    ) -> Prepared:
        """Tiny pictures right here, if `inline`, others in a thread."""
        preprocessed = None
        if inline and len(data) <= INLINE_BYTES:
            await self._turns.take()
        started = time.monotonic()
        if inline and len(data) <= INLINE_BYTES:
            preprocessed = self._prepare_tiny(data, mode, background)
        if preprocessed is None:
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout_at(loop.time() + deadline - started):
                    preprocessed = await loop.run_in_executor(self._decoders, self._prepare_any, data, mode, background)
            except TimeoutError:
                raise DeadlinePassed("the picture was not decoded in time") from None
        seconds = time.monotonic() - started
        self.metrics.decode_time.observe(seconds)
        return Prepared(preprocessed, seconds)

    def _prepare_tiny(self, data: bytes, mode: Mode, background: Ground) -> Preprocessed | None:
        """None for a picture that is better decoded in a thread."""
        picture = open_picture(data, self.settings.max_pixels)
        return decode_and_preprocess(picture, mode, background) if picture.is_tiny else None

    def _prepare_any(self, data: bytes, mode: Mode, background: Ground) -> Preprocessed:
        picture = open_picture(data, self.settings.max_pixels)
        with self._decoding.reserve(picture.budget_share):
            return decode_and_preprocess(picture, mode, background)

    def _infer(self, pixels: NDArray[np.uint8]) -> list[Scores]:
        """Runs in the engine's threads."""
        checkpoint, engine = self.served.now
        return score(engine, checkpoint, pixels)

    def _joined(
        self, prepared: Prepared, outcome: Answer[Scores] | ServiceError, degrees: int
    ) -> Prediction | ServiceError:
        if isinstance(outcome, ServiceError):
            return outcome
        self._count(outcome)
        if degrees:
            prepared = replace(prepared, preprocessed=prepared.preprocessed.turned(degrees))
        return Prediction(prepared, outcome)

    def _count(self, answer: Answer[Scores]) -> None:
        scores = answer.result
        likeliest = int(scores.probabilities.argmax())
        label, confidence = self.checkpoint.metadata.classes[likeliest], float(scores.probabilities[likeliest])
        self.metrics.queue_time.observe(answer.queued)
        self.metrics.prediction(label, confidence, scores.out_of_distribution)


def _kind(engine: Engine) -> tuple[str, str, str]:
    """What its speed depends on."""
    return engine.name, engine.device, engine.precision


def _answer_or_raise(outcome: Answer[Scores] | ServiceError) -> Answer[Scores]:
    if isinstance(outcome, ServiceError):
        raise outcome
    return outcome
