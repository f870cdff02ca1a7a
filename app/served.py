"""The checkpoint and the engine that are at work, and how another takes their place: a death, or a new checkpoint."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import numpy as np

from app.cores import step_back
from app.engine import Engine, StartError, build, device_memory, golden_error
from app.metrics import Metrics
from model.checkpoint import Checkpoint

if TYPE_CHECKING:
    from app.settings import Settings

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts to bring a dead engine back; they double."""


class Served:
    """`now` is replaced as a whole: who uses it takes both out at once."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, settings: "Settings", metrics: Metrics) -> None:
        self.now = checkpoint, engine
        self._settings, self._metrics = settings, metrics
        self._reloading: asyncio.Task[None] | None = None
        self._pause, self._not_before = FIRST_PAUSE, 0.0
        self._announce()

    def recover(self) -> bool:
        """Whether the engine works, if need be a new one in its place; runs in the engine thread."""
        checkpoint, engine = self.now
        try:
            if golden_error(engine, checkpoint) <= engine.tolerance:
                return True  # then it was the pictures
            log.error("the engine answers wrongly")
        except BaseException as error:
            log.error("the engine has died: %s: %s", type(error).__name__, error)
        if time.monotonic() < self._not_before:
            return False
        self._metrics.engine_restarts.inc()
        try:
            replacement = build(self._settings, checkpoint)
        except BaseException as error:
            log.error("the engine could not be restarted: %s: %s", type(error).__name__, error)
            self._not_before = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return False
        if self.now[0] is checkpoint:  # and no other has been taken up meanwhile
            self.now = checkpoint, replacement
            self._announce()
        log.warning("the engine has been restarted")
        self._pause = FIRST_PAUSE
        return True

    def reload(self, batch_size: int) -> None:
        """Loads the checkpoint's file anew, aside, and puts it to work between two batches if it proves itself.

        Called in the event loop; does nothing while one is being loaded.
        """
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload(batch_size))

    async def _reload(self, batch_size: int) -> None:
        try:
            self.now = await asyncio.to_thread(self._load, batch_size)
        except Exception as error:
            log.error("the new checkpoint is refused, %s stays: %s", self.now[0].version[:12], error)
        else:
            log.warning("%s is served from now on", self.now[0].version[:12])
            self._announce()

    def _load(self, batch_size: int) -> tuple[Checkpoint, Engine]:
        """Verified and warm. Raises CheckpointError or StartError."""
        step_back()
        checkpoint = Checkpoint.load(self._settings.checkpoint)
        if checkpoint.metadata.classes != self.now[0].metadata.classes:
            raise StartError("it has other classes, which needs a restart")
        engine = build(self._settings, checkpoint)
        pixels = checkpoint.golden.pixels
        engine(np.resize(pixels, (batch_size, *pixels.shape[1:])))
        return checkpoint, engine

    def measure_memory(self) -> None:
        """Into the metrics, if the device has memory of its own."""
        engine = self.now[1]
        if memory := device_memory(engine):
            self._metrics.device_memory(engine.device, *memory)

    def _announce(self) -> None:
        checkpoint, engine = self.now
        self._metrics.model(
            name=checkpoint.metadata.name,
            version=checkpoint.version[:12],
            engine=engine.name,
            device=engine.device,
            precision=engine.precision,
        )
        self.measure_memory()
