"""The checkpoint and the engine that are at work, and how another takes their place: a death, or a new checkpoint."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from app.errors import StartError
from app.inference.cpu import step_back
from app.inference.engines.base import Engine, device_memory
from app.inference.engines.choose import build, golden_error
from app.metrics import Metrics
from model.checkpoint import Checkpoint

if TYPE_CHECKING:
    from app.settings import Settings

log = logging.getLogger(__name__)

Made = TypeVar("Made")
Pair = tuple[Checkpoint, Engine]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts to bring an engine back; they double, until none has been needed for the longest."""


class Served:
    """`now` is replaced as a whole: who uses it takes both out at once."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, settings: "Settings", metrics: Metrics) -> None:
        self.now: Pair = checkpoint, engine
        self.doubted: Engine | None = None
        """One that has classified a known picture wrongly; it is replaced whatever it does afterwards."""
        self._settings, self._metrics = settings, metrics
        self._exchange = threading.Lock()
        """Held to replace `now`: the engine's threads do that, and the event loop."""
        self._reloading: asyncio.Task[None] | None = None
        self._wanted = False
        self._pause, self._not_before = FIRST_PAUSE, 0.0
        self._put_to_work(self.now)

    def recover(self) -> bool:
        """Whether the engine works, if need be a new one in its place; runs in an engine thread, one at a time."""
        before = checkpoint, _ = self.now
        if self._works(before):
            return True  # then it was the pictures
        if not self._may_build():
            return False
        try:
            replacement = build(self._settings, checkpoint)
        except BaseException as error:
            log.error("the engine could not be restarted: %s: %s", type(error).__name__, error)
            return False
        finally:
            self._put_off()
        if self._put_to_work((checkpoint, replacement), before):  # else another has been taken up meanwhile
            self._metrics.engine_restarts.inc()
            log.warning("the engine has been restarted")
        return True

    def _works(self, served: Pair) -> bool:
        checkpoint, engine = served
        if engine is self.doubted:
            return False
        try:
            if golden_error(engine, checkpoint) <= engine.tolerance:
                return True
            log.error("the engine answers wrongly")
        except BaseException as error:
            log.error("the engine has died: %s: %s", type(error).__name__, error)
        return False

    def _may_build(self) -> bool:
        now = time.monotonic()
        if now > self._not_before + LONGEST_PAUSE:
            self._pause = FIRST_PAUSE
        return now >= self._not_before

    def _put_off(self) -> None:
        """The next attempt."""
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _put_to_work(self, served: Pair, instead_of: Pair | None = None) -> bool:
        """Whether they are `now` from now on: not if something else is there than what they are to replace."""
        with self._exchange:
            if instead_of is not None and self.now is not instead_of:
                return False
            self.now = checkpoint, engine = served
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
        """Loads the checkpoint's file anew, aside, and puts it to work between two batches if it proves itself.

        Called in the event loop. While one is being loaded, the file is loaded once more afterwards: it may be another.
        """
        self._wanted = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload(batch_size))
        else:
            log.info("a checkpoint is being loaded; its file is loaded once more afterwards")

    async def _reload(self, batch_size: int) -> None:
        while self._wanted:
            self._wanted = False
            try:
                self._put_to_work(await _aside(lambda: self._load(batch_size)))
            except Exception as error:
                log.error("the new checkpoint is refused, %s stays: %s", self.now[0].version[:12], error)
            else:
                log.warning("%s is served from now on", self.now[0].version[:12])

    def _load(self, batch_size: int) -> Pair:
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


async def _aside(make: Callable[[], Made]) -> Made:
    """`make()`, in a thread that does not hold up the end of the process if it hangs, as asyncio.to_thread's would.

    Raises what it raises, and RuntimeError instead of what is no Exception.
    """
    loop = asyncio.get_running_loop()
    made: asyncio.Future[Made] = loop.create_future()

    def settle(result: Made | None, error: BaseException | None) -> None:
        if made.done():  # cancelled
            return
        if error is None:
            made.set_result(cast("Made", result))
        else:
            made.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def run() -> None:
        result, failure = None, None
        try:
            result = make()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="reload", daemon=True).start()
    return await made
