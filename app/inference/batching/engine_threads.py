"""The threads that run batches on the engine. A batch that fails is retried in smaller parts."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic

from app.errors import EngineFailed
from app.inference.batching.lane_schedule import LaneSchedule
from app.inference.batching.requests import Answer, Batch, Outcome, QueueEntry, Result, stack
from app.inference.cpu import lower_thread_priority
from app.inference.engine_health import EngineHealth
from app.metrics import Metrics
from model.preprocess import Pixels

log = logging.getLogger(__name__)

OUT_OF_MEMORY = {"MemoryError", "OutOfMemoryError"}
"""Names of the exceptions after which the batch is halved. The second is torch's, and torch may not be installed."""

Outcomes = list[tuple[QueueEntry[Result], Outcome[Result]]]


class EngineThreads(Generic[Result]):
    """One thread for each lane of the engine, and one for each batch that is queued ahead of the lanes.

    `run` computes uint8 [n,96,96] → n results. `deliver` gets the outcomes of a batch, in the event loop that `start`
    was called in. The threads are woken once a batch and wake the event loop once a batch: a switch between threads
    costs as much as decoding a small picture.
    """

    def __init__(
        self,
        run: Callable[[Pixels], Sequence[Result]],
        deliver: Callable[[Outcomes[Result]], None],
        schedule: LaneSchedule,
        health: EngineHealth,
        metrics: Metrics,
    ) -> None:
        self._run, self._deliver = run, deliver
        self._schedule, self._health, self._metrics = schedule, health, metrics
        self._batches: list[SimpleQueue[list[QueueEntry[Result]]]] = [SimpleQueue() for _ in range(schedule.threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(i,), name=f"engine-{i}", daemon=True)
            for i in range(schedule.threads)
        ]
        self._finished = asyncio.Event()

    def start(self) -> None:
        self._loop, self._running = asyncio.get_running_loop(), len(self._threads)
        for thread in self._threads:
            thread.start()

    def submit(self, thread: int, batch: list[QueueEntry[Result]]) -> None:
        """Gives a batch to a thread that is free."""
        self._batches[thread].put(batch)

    def stop(self) -> None:
        """Ends each thread after its last batch."""
        for batches in self._batches:
            batches.put([])

    async def join(self) -> None:
        """Waits until all threads have ended."""
        await self._finished.wait()

    def _work(self, thread: int) -> None:
        """Runs in the thread. No exception may end it: only this thread takes the batches that are submitted to it."""
        lower_thread_priority()
        while batch := self._batches[thread].get():
            outcomes: Outcomes[Result] = []
            try:
                outcomes = self._answer(batch, thread)
            except BaseException:
                log.exception("an engine thread raised an unexpected error")
            finally:
                self._health.batch_finished(thread)
                self._schedule.finish(thread, time.monotonic())
                self._loop.call_soon_threadsafe(self._deliver, outcomes)
        self._loop.call_soon_threadsafe(self._thread_ended)

    def _thread_ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._finished.set()

    def _answer(self, batch: list[QueueEntry[Result]], thread: int) -> Outcomes[Result]:
        """The outcomes of entries whose client still waits; none if they were delivered before the engine recovered."""
        now = time.monotonic()
        waiting = [entry for entry in batch if entry.request.deadline > now and not entry.request.reply.done()]
        if not waiting:
            return []
        self._health.batch_started(thread, now)
        outcomes = list(zip(waiting, self._compute(waiting, thread), strict=True))
        succeeded = any(isinstance(outcome, Answer) for _, outcome in outcomes)
        if not self._health.needs_recovery(succeeded):
            return outcomes
        self._loop.call_soon_threadsafe(self._deliver, outcomes)
        self._health.recover(succeeded)
        return []

    def _compute(self, entries: list[QueueEntry[Result]], thread: int) -> list[Outcome[Result]]:
        """Runs the entries as one batch, with retries if it fails."""
        started = time.monotonic()
        try:
            results = self._run(stack(entries))
            if len(results) != len(entries):
                raise RuntimeError(f"the engine gave {len(results)} results for {len(entries)} pictures")
        except BaseException as error:
            return self._retry(entries, thread, error)
        started = max(started, self._schedule.started_at(thread))
        batch = Batch(len(entries), started, time.monotonic() - started)
        self._metrics.batch(batch.size, batch.seconds, self._exemplar(entries))
        return [
            Answer(result, batch.size, started - submitted, batch.seconds, ((submitted, batch),))
            for submitted, result in zip((entry.request.submitted for entry in entries), results, strict=True)
        ]

    def _exemplar(self, entries: list[QueueEntry[Result]]) -> dict[str, str] | None:
        """The trace of one of the requests."""
        if self._metrics.exemplar is None:
            return None
        return next((entry.request.exemplar for entry in entries if entry.request.exemplar is not None), None)

    def _retry(self, batch: list[QueueEntry[Result]], thread: int, error: BaseException) -> list[Outcome[Result]]:
        """Halves the batch if memory ran out, otherwise runs the pictures one by one, so that a bad one fails alone."""
        if len(batch) == 1:
            log.error("a picture failed: %s: %s", type(error).__name__, error)
            self._metrics.dropped("failed", 1)
            return [EngineFailed("the network could not be run on this picture")]
        if type(error).__name__ in OUT_OF_MEMORY:
            log.warning("too little memory for a batch of %d, halving it", len(batch))
            self._metrics.batch_splits.inc()
            half = len(batch) // 2
            return self._compute(batch[:half], thread) + self._compute(batch[half:], thread)
        log.error("a batch of %d failed, retrying one by one", len(batch), exc_info=error)
        return [outcome for entry in batch for outcome in self._compute([entry], thread)]
