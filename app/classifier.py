"""THE PATH of a picture: bytes → decode → preprocess → batcher → engine → labels → Prediction.

Decoding and preprocessing happen per picture before the queue, so a bad picture is refused alone and
never reaches a batch.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.batcher import Answer, Batcher
from app.cores import usable_cores
from app.decode import open_picture, prepare
from app.engine import Engine, softmax, useful_batch_size, warm_up
from app.errors import ServiceError
from app.settings import Settings
from model.checkpoint import Checkpoint
from model.preprocess import Preprocessed

log = logging.getLogger(__name__)

INLINE_BYTES = 16 * 1024
INLINE_PIXELS = 128 * 128
"""Up to here decoding costs less than handing it to a thread."""


@dataclass(frozen=True)
class Scores:
    """What the network says about one picture."""

    probabilities: NDArray[np.float32]
    """[classes], calibrated."""


@dataclass(frozen=True)
class Prediction:
    """One picture's answer; times in seconds."""

    probabilities: NDArray[np.float32]
    """[classes]."""
    preprocessed: Preprocessed
    decode: float
    queued: float
    inference: float
    batch_size: int


class Classifier:
    """Owns the engine, its queue and the decoding threads."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, settings: Settings) -> None:
        self.checkpoint, self.engine, self.settings = checkpoint, engine, settings
        self.capacity = warm_up(engine, checkpoint.golden.pixels)
        self.batcher: Batcher[Scores] = Batcher(
            self._infer,
            max_batch_size=settings.max_batch_size or useful_batch_size(self.capacity),
            queue_size=settings.queue_size,
        )
        self._decoders = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")
        rates = ", ".join(f"{size}: {size / seconds:.0f}" for size, seconds in self.capacity.items())
        log.info("pictures/s by batch size: %s; batches of up to %d", rates, self.batcher.max_batch_size)

    def start(self) -> None:
        self.batcher.start()

    async def stop(self) -> None:
        """Finishes what was accepted."""
        await self.batcher.stop()
        self._decoders.shutdown(wait=False)

    async def classify(self, data: bytes) -> Prediction:
        """One picture. Raises ServiceError: UnsupportedFormat, UndecodablePicture, QueueFull, DeadlinePassed, …"""
        started = time.monotonic()
        preprocessed = await self._prepare(data)
        decode = time.monotonic() - started
        answer = await self.batcher.submit(preprocessed.pixels, started + self.settings.request_timeout)
        return _prediction(preprocessed, decode, answer)

    async def classify_many(self, pictures: Sequence[bytes]) -> list[Prediction | ServiceError]:
        """Several pictures, in order; an error stands in the place of an unusable one.

        Raises QueueFull or NotReady for all of them together.
        """
        started = time.monotonic()
        deadline = started + self.settings.request_timeout
        prepared = await asyncio.gather(*(self._prepare_or_error(data) for data in pictures))
        decode = time.monotonic() - started
        usable = {i: result for i, result in enumerate(prepared) if isinstance(result, Preprocessed)}
        answers = await self.batcher.submit_many([result.pixels for result in usable.values()], deadline)
        outcomes: dict[int, Prediction | ServiceError] = {
            i: result for i, result in enumerate(prepared) if isinstance(result, ServiceError)
        }
        for (i, preprocessed), answer in zip(usable.items(), answers, strict=True):
            outcomes[i] = answer if isinstance(answer, ServiceError) else _prediction(preprocessed, decode, answer)
        return [outcomes[i] for i in range(len(pictures))]

    async def _prepare_or_error(self, data: bytes) -> Preprocessed | ServiceError:
        try:
            return await self._prepare(data)
        except ServiceError as error:
            return error

    async def _prepare(self, data: bytes) -> Preprocessed:
        """Small pictures right here, others in a thread."""
        if len(data) > INLINE_BYTES:
            return await asyncio.get_running_loop().run_in_executor(self._decoders, self._prepare_now, data)
        image = open_picture(data, self.settings.max_pixels)
        if image.width * image.height <= INLINE_PIXELS:
            return prepare(image)
        return await asyncio.get_running_loop().run_in_executor(self._decoders, prepare, image)

    def _prepare_now(self, data: bytes) -> Preprocessed:
        return prepare(open_picture(data, self.settings.max_pixels))

    def _infer(self, pixels: NDArray[np.uint8]) -> list[Scores]:
        """uint8 [n,96,96] → n scores; runs in the engine thread."""
        outputs = self.engine(pixels)
        return [Scores(row) for row in softmax(outputs.logits, self.engine.temperature)]


def _prediction(preprocessed: Preprocessed, decode: float, answer: Answer[Scores]) -> Prediction:
    return Prediction(
        answer.result.probabilities, preprocessed, decode, answer.queued, answer.inference, answer.batch_size
    )
