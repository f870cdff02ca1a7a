"""Many pictures → one batch: a bounded queue, no timer, and threads that feed the engine's lanes.

The event loop forms the batches, once a turn: a lane that is free gets what waits, or its share where others are free
too (app.inference.lane_schedule). While all are busy the next batch forms, and once it is full the engine may have it
ahead. Nobody waits for company. A thread is woken once a batch and wakes the event loop once a batch: every hand-over between threads
costs as much as decoding a small picture. Each entry carries the way to its own reply, as in Hugging Face's
text-embeddings-inference, whose queue this one follows in shape.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.errors import DeadlinePassed, EngineFailed, NotReady, ServiceError
from app.inference.cpu import SIDE_BY_SIDE, step_back
from app.inference.engine_health import EngineHealth
from app.inference.lane_schedule import LaneSchedule
from app.metrics import Metrics

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Pixels = NDArray[np.uint8]

OUT_OF_MEMORY = {"MemoryError", "OutOfMemoryError"}
"""Exceptions that a smaller batch may escape, by name: the second is torch's, which need not be there."""


@dataclass(frozen=True)
class Answer(Generic[Result]):
    """One picture's result and how it came about; times in seconds."""

    result: Result
    batch_size: int
    queued: float
    inference: float


Outcome = Answer[Result] | ServiceError


class _Request(Generic[Result]):
    """Pictures that came together and are answered together."""

    def __init__(
        self, pictures: Sequence[Pixels] | Pixels, deadline: float, urgent: bool, reply: "asyncio.Future[None]"
    ) -> None:
        self.block = pictures if isinstance(pictures, np.ndarray) else None
        self.outcomes: list[Outcome[Result] | None] = [None] * len(pictures)
        self.missing = len(pictures)
        self.deadline, self.urgent = deadline, urgent
        self.submitted = time.monotonic()
        self.reply = reply

    def settle(self, index: int, outcome: "Outcome[Result]") -> None:
        self.outcomes[index] = outcome
        self.missing -= 1
        if not self.missing:
            self.end()

    def end(self) -> None:
        """No more is waited for; what is missing was not ready in time."""
        if not self.reply.done():
            self.reply.set_result(None)


@dataclass(eq=False)
class _Entry(Generic[Result]):
    """One waiting picture: uint8 [96,96], and its place in its request."""

    pixels: Pixels
    request: _Request[Result]
    index: int


class Batcher(Generic[Result]):
    """Runs `run` (uint8 [n,96,96] → n results) on whatever waits, in as many threads as the engine has lanes.

    `ahead` more threads take full batches while all lanes are busy, for the engine to go on without a pause.

    `arriving` counts pictures that are about to be submitted: a small batch waits for them, a turn of the loop or two.

    `recover` is called there, as app.inference.engine_health says, after a batch of which nothing succeeded, or while
    `vitals` doubts.

    Everything but `run` is called in the event loop that `start` was called in.
    """

    def __init__(
        self,
        run: Callable[[Pixels], Sequence[Result]],
        recover: Callable[[], bool],
        *,
        lanes: int,
        ahead: int,
        max_batch_size: int,
        max_block_size: int,
        metrics: Metrics,
        arriving: Callable[[], int] = lambda: 0,
    ) -> None:
        self.max_batch_size = max_batch_size
        self._schedule = LaneSchedule(lanes, ahead, max_batch_size, max_block_size)
        self.vitals = EngineHealth(self._schedule.threads, recover)
        self._run = run
        self._metrics, self._arriving = metrics, arriving
        self._queue: deque[_Entry[Result]] = deque()
        self._unanswered: set[_Request[Result]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._stopping = self._dispatching = False
        self._inboxes: list[SimpleQueue[list[_Entry[Result]]]] = [SimpleQueue() for _ in range(self._schedule.threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(lane,), name=f"engine-{lane}", daemon=True)
            for lane in range(self._schedule.threads)
        ]
        self._finished = asyncio.Event()

    def start(self) -> None:
        self._loop, self._running = asyncio.get_running_loop(), len(self._threads)
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Pictures in the queue, those being computed not counted."""
        return len(self._queue)

    async def submit(
        self, pictures: Sequence[Pixels] | Pixels, deadline: float, *, urgent: bool = False
    ) -> "list[Outcome[Result]]":
        """Each picture's answer, in order, or the error in its place; all by `deadline` (time.monotonic()).

        An array [n,96,96] reaches the engine uncopied where it fills a batch. Urgent pictures go to the front, and get
        the answers of an engine that is not trusted. Being cancelled frees the places at once. Raises NotReady, or
        EngineFailed where the engine is not trusted.
        """
        if len(pictures) == 0:
            return []
        if (doubt := self.vitals.doubt) is not None and not urgent:
            raise self._refusal(doubt, len(pictures))
        request: _Request[Result] = _Request(pictures, deadline, urgent, self._loop.create_future())
        self._enqueue([_Entry(pixels, request, i) for i, pixels in enumerate(pictures)])
        self._unanswered.add(request)
        if self._sweep is None or deadline < self._sweep_at:
            self._sweep_later(deadline)
        try:
            await request.reply
        except asyncio.CancelledError:
            self._metrics.dropped("abandoned", request.missing)
            raise
        finally:
            self._unanswered.discard(request)
            if request.missing:
                self._forget(request)
        return [outcome or DeadlinePassed("the answer was not ready in time") for outcome in request.outcomes]

    def _sweep_later(self, deadline: float) -> None:
        """One timer for all requests, for the deadline that comes first: most are answered long before theirs."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_at = deadline
        self._sweep = self._loop.call_later(deadline - time.monotonic(), self._expire)

    def _expire(self) -> None:
        """Ends the waiting of requests whose deadline has passed, whatever the engine is doing."""
        self._sweep, now = None, time.monotonic()
        for request in [request for request in self._unanswered if request.deadline <= now]:
            self._metrics.dropped("expired", request.missing)
            request.end()
        if deadlines := [request.deadline for request in self._unanswered if request.deadline > now]:
            self._sweep_later(min(deadlines))

    async def stop(self) -> None:
        """Refuses new work, finishes what was accepted, ends the threads."""
        self._stopping = True
        self._dispatch()
        await self._finished.wait()

    def _refusal(self, doubt: str, count: int) -> EngineFailed:
        """What so many pictures get from an engine that is not trusted."""
        self._metrics.dropped("failed", count)
        return EngineFailed(f"the engine is not trusted: {doubt}")

    def _enqueue(self, entries: list[_Entry[Result]]) -> None:
        if self._stopping:
            raise NotReady("the service is stopping")
        if entries[0].request.urgent:
            self._queue.extendleft(reversed(entries))
        else:
            self._queue.extend(entries)
        self._dispatch_soon()

    def _dispatch_soon(self) -> None:
        if not self._dispatching:
            self._dispatching = True
            self._loop.call_soon(self._dispatch)

    def _forget(self, request: _Request[Result]) -> None:
        self._queue = deque(entry for entry in self._queue if entry.request is not request)

    def _dispatch(self) -> None:
        """Hands out what waits to the threads that may have it; ends them when there will be no more."""
        self._dispatching = False
        if len(self._queue) < SIDE_BY_SIDE and self._arriving():
            self._dispatch_soon()  # one batch of all that come together, instead of one each turn
            return
        while (thread := self._schedule.free) is not None and (share := self._share()):
            batch = [self._queue.popleft() for _ in range(share)]
            self._schedule.begin(thread, len(batch), time.monotonic())
            self._inboxes[thread].put(batch)
        self._metrics.queue.set(len(self._queue))  # here too, for another worker may be the one that is asked
        if self._stopping and not self._queue:
            for inbox in self._inboxes:
                inbox.put([])

    def _share(self) -> int:
        block = bool(self._queue) and self._queue[0].request.block is not None
        return self._schedule.share(len(self._queue), block)

    def _work(self, lane: int) -> None:
        """A lane's thread, which goes on whatever happens: nobody else takes what is in its inbox."""
        step_back()
        while batch := self._inboxes[lane].get():
            outcomes: list[tuple[_Entry[Result], Outcome[Result]]] = []
            try:
                outcomes = self._answer(batch, lane)
            except BaseException:
                log.exception("an engine thread stumbled")
            finally:
                self.vitals.end(lane)
                self._schedule.done(lane, time.monotonic())
                self._loop.call_soon_threadsafe(self._deliver, outcomes)
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._running -= 1
        if not self._running:
            self._finished.set()

    def _answer(self, batch: list[_Entry[Result]], lane: int) -> "list[tuple[_Entry[Result], Outcome[Result]]]":
        """The answers to those who still wait; none are left to be given where the engine has to be mended first."""
        now = time.monotonic()
        alive = [entry for entry in batch if entry.request.deadline > now and not entry.request.reply.done()]
        if not alive:
            return []
        self.vitals.begin(lane, now)
        outcomes = list(zip(alive, self._compute(alive, lane), strict=True))
        succeeded = any(isinstance(outcome, Answer) for _, outcome in outcomes)
        if self.vitals.sound(succeeded):
            return outcomes
        self._loop.call_soon_threadsafe(self._deliver, outcomes)
        self.vitals.mend(succeeded)
        return []

    def _compute(self, batch: list[_Entry[Result]], lane: int) -> "list[Outcome[Result]]":
        """Runs the batch, and what becomes of it if that fails."""
        started = time.monotonic()
        try:
            results = self._run(_together(batch))
            if len(results) != len(batch):
                raise RuntimeError(f"the engine gave {len(results)} results for {len(batch)} pictures")
        except BaseException as error:
            return self._retry(batch, lane, error)
        started = max(started, self._schedule.begun(lane))
        inference = time.monotonic() - started
        self._metrics.batch(len(batch), inference)
        return [
            Answer(result, len(batch), started - entry.request.submitted, inference)
            for entry, result in zip(batch, results, strict=True)
        ]

    def _retry(self, batch: list[_Entry[Result]], lane: int, error: BaseException) -> "list[Outcome[Result]]":
        """In halves if there was too little memory, otherwise one by one: a poisonous picture fails alone."""
        if len(batch) == 1:
            log.error("a picture failed: %s: %s", type(error).__name__, error)
            self._metrics.dropped("failed", 1)
            return [EngineFailed("the network could not be run on this picture")]
        if type(error).__name__ in OUT_OF_MEMORY:
            log.warning("too little memory for a batch of %d, halving it", len(batch))
            self._metrics.batch_splits.inc()
            half = len(batch) // 2
            return self._compute(batch[:half], lane) + self._compute(batch[half:], lane)
        log.error("a batch of %d failed, retrying one by one", len(batch), exc_info=error)
        return [outcome for entry in batch for outcome in self._compute([entry], lane)]

    def _deliver(self, outcomes: "list[tuple[_Entry[Result], Outcome[Result]]]") -> None:
        """Gives the answers out, and the lane that is free the next batch."""
        doubt = self.vitals.doubt
        for entry, outcome in outcomes:
            if doubt is not None and isinstance(outcome, Answer) and not entry.request.urgent:
                outcome = self._refusal(doubt, 1)
            entry.request.settle(entry.index, outcome)
        self._dispatch()


def _together(batch: list[_Entry[Result]]) -> Pixels:
    """uint8 [n,96,96]: a part of the array they came in if they came together, else a copy."""
    first, last = batch[0], batch[-1]
    block = first.request.block
    if block is not None and last.request is first.request and last.index - first.index == len(batch) - 1:
        part: Pixels = block[first.index : last.index + 1]
        return part
    return np.stack([entry.pixels for entry in batch])
