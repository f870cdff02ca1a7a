"""Holds the checkpoint and the engine in use, and replaces them: after a failure, or by a new checkpoint."""

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from app.errors import StartError
from app.inference.cpu import lower_thread_priority
from app.inference.engines.base import Engine, device_memory
from app.inference.engines.choose import build_engine, golden_error
from app.inference.scores import Scores, score
from app.metrics import Metrics
from model.checkpoint import Checkpoint
from model.preprocess import Pixels

if TYPE_CHECKING:
    from app.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")
Model = tuple[Checkpoint, Engine]

MIN_BACKOFF, MAX_BACKOFF = 0.5, 30.0
"""Seconds between two restarts of the engine. They double, and begin anew after `MAX_BACKOFF` without a restart."""


class ModelHandle:
    """`current` is replaced as a whole, so that a caller which unpacks it gets an engine with its own checkpoint."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, settings: "Settings", metrics: Metrics) -> None:
        self.current: Model = checkpoint, engine
        self.unhealthy_engine: Engine | None = None
        """An engine that classified a known picture wrongly. It is replaced even if it answers correctly later."""
        self._settings, self._metrics = settings, metrics
        self._swap_lock = threading.Lock()
        """Held to replace `current`: the engine's threads do that, and the event loop."""
        self._reloading: asyncio.Task[None] | None = None
        self._reload_requested = False
        self._backoff, self._next_restart = MIN_BACKOFF, 0.0
        self._swap(self.current)

    def score(self, pixels: Pixels) -> list[Scores]:
        """uint8 [n,96,96] → n scores. Called in the engine's threads. Raises what the engine raises."""
        checkpoint, engine = self.current
        return score(engine, checkpoint, pixels)

    def recover(self) -> bool:
        """Restarts the engine if it is broken; returns whether it works. Called in one engine thread at a time."""
        before = checkpoint, _ = self.current
        if self._is_correct(before):
            return True  # the pictures caused the failure
        if not self._may_restart():
            return False
        try:
            engine = build_engine(self._settings, checkpoint)
        except BaseException as error:
            log.error("the engine could not be restarted: %s: %s", type(error).__name__, error)
            return False
        finally:
            self._back_off()
        if self._swap((checkpoint, engine), before):
            self._metrics.engine_restarts.inc()
            log.warning("the engine has been restarted")
        return True

    def _is_correct(self, model: Model) -> bool:
        """Whether the engine gives the golden answers."""
        checkpoint, engine = model
        if engine is self.unhealthy_engine:
            return False
        try:
            if golden_error(engine, checkpoint) <= engine.tolerance:
                return True
            log.error("the engine answers wrongly")
        except BaseException as error:
            log.error("the engine has died: %s: %s", type(error).__name__, error)
        return False

    def _may_restart(self) -> bool:
        now = time.monotonic()
        if now > self._next_restart + MAX_BACKOFF:
            self._backoff = MIN_BACKOFF
        return now >= self._next_restart

    def _back_off(self) -> None:
        self._next_restart = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, MAX_BACKOFF)

    def _swap(self, model: Model, expected: Model | None = None) -> bool:
        """Makes `model` the current one; not if another than `expected` has become current meanwhile."""
        with self._swap_lock:
            if expected is not None and self.current is not expected:
                return False
            self.current = checkpoint, engine = model
            self._metrics.model(
                name=checkpoint.metadata.name,
                version=checkpoint.version[:12],
                engine=engine.name,
                device=engine.device,
                precision=engine.precision,
            )
        self.measure_memory()
        return True

    def reload(self, batch_size: int) -> None:
        """Loads the checkpoint's file again in a thread; the new model replaces the current one if it is correct.

        Called in the event loop. During a reload, the file is loaded once more afterwards, because it may have changed.
        """
        self._reload_requested = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload(batch_size))
        else:
            log.info("a checkpoint is being loaded; its file is loaded once more afterwards")

    async def _reload(self, batch_size: int) -> None:
        while self._reload_requested:
            self._reload_requested = False
            try:
                self._swap(await _in_daemon_thread(lambda: self._load(batch_size)))
            except Exception as error:
                log.error("the new checkpoint is refused, %s stays: %s", self.current[0].version[:12], error)
            else:
                log.warning("%s is served from now on", self.current[0].version[:12])

    def _load(self, batch_size: int) -> Model:
        """A verified and warm model. Raises CheckpointError or StartError."""
        lower_thread_priority()
        checkpoint = Checkpoint.load(self._settings.checkpoint)
        if checkpoint.metadata.classes != self.current[0].metadata.classes:
            raise StartError("it has other classes, which needs a restart")
        engine = build_engine(self._settings, checkpoint)
        pixels = checkpoint.golden.pixels
        engine(np.resize(pixels, (batch_size, *pixels.shape[1:])))
        return checkpoint, engine

    def measure_memory(self) -> None:
        """Updates the metrics if the device has memory of its own."""
        engine = self.current[1]
        if memory := device_memory(engine):
            self._metrics.device_memory(engine.device, *memory)


async def _in_daemon_thread(function: Callable[[], T]) -> T:
    """Like asyncio.to_thread, but a call that hangs does not keep the process from ending.

    Raises what `function` raises; a BaseException that is no Exception becomes a RuntimeError.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()  # cancelling the caller does not cancel the thread

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    threading.Thread(target=run, name="reload", daemon=True).start()
    return await asyncio.wrap_future(future)
