"""Forms batches from the pictures that wait, in the event loop, and hands them to the engine's threads.

There is no timer and no fixed window. An engine computes a batch in each of its lanes, side by side. A free lane gets
the pictures that wait, or its share of them if other lanes are free too (lane_schedule). While all lanes are busy the
next batch grows. Once it is full, it may be queued ahead in the engine. Every entry refers to its request, which
holds the future that is awaited, as in the queue of Hugging Face's text-embeddings-inference.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic

from app.errors import DeadlinePassed, EngineFailed, NotReady
from app.inference.batching.engine_threads import EngineThreads, Outcomes
from app.inference.batching.lane_schedule import LaneSchedule
from app.inference.batching.requests import Answer, Outcome, PendingRequest, QueueEntry, Result
from app.inference.engine_health import EngineHealth
from app.inference.engines.base import MIN_PARALLEL_BATCH
from app.metrics import Metrics
from model.preprocess import Pixels


class Batcher(Generic[Result]):
    """Runs `run` (uint8 [n,96,96] → n results) in as many threads as the engine has lanes.

    `ahead` is the number of further threads, which take full batches while all lanes are busy, so that the engine does
    not pause between batches. `arriving` counts pictures that are about to be submitted: a small batch waits for them,
    a few iterations of the event loop. `recover` is called in an engine thread after a batch without any result,
    and while the engine is unhealthy; it returns whether the engine works.

    All methods are called in the event loop that `start` was called in.
    """

    def __init__(
        self,
        run: Callable[[Pixels], Sequence[Result]],
        recover: Callable[[], bool],
        *,
        lanes: int,
        ahead: int,
        max_batch_size: int,
        max_array_batch_size: int,
        metrics: Metrics,
        arriving: Callable[[], int] = lambda: 0,
    ) -> None:
        self.max_batch_size = max_batch_size
        self._schedule = LaneSchedule(lanes, ahead, max_batch_size, max_array_batch_size)
        self.health = EngineHealth(self._schedule.threads, recover)
        self._threads = EngineThreads(run, self._deliver, self._schedule, self.health, metrics)
        self._metrics, self._arriving = metrics, arriving
        self._queue: deque[QueueEntry[Result]] = deque()
        self._unanswered: set[PendingRequest[Result]] = set()
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._stopping = self._dispatch_scheduled = False

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads.start()

    @property
    def waiting(self) -> int:
        """Pictures in the queue, without those in the engine."""
        return len(self._queue)

    async def submit(
        self, pictures: Sequence[Pixels] | Pixels, deadline: float, *, first: bool = False, urgent: bool = False
    ) -> "list[Outcome[Result]]":
        """The answer or the error of each picture, in order, by `deadline` (time.monotonic() seconds).

        An array [n,96,96] reaches the engine uncopied where it fills a batch. `first` puts the pictures at the front of
        the queue. Urgent ones go there too, and are answered even by an unhealthy engine. Cancelling the call frees the
        places in the queue.
        Raises NotReady while the service stops, and EngineFailed while the engine is unhealthy.
        """
        if len(pictures) == 0:
            return []
        if (reason := self.health.unhealthy_reason) is not None and not urgent:
            raise self._engine_failed(reason, len(pictures))
        request: PendingRequest[Result] = PendingRequest(pictures, deadline, urgent, self._loop.create_future())
        request.exemplar = self._metrics.current_exemplar
        self._enqueue([QueueEntry(pixels, request, i) for i, pixels in enumerate(pictures)], first or urgent)
        self._unanswered.add(request)
        if self._deadline_timer is None or deadline < self._next_deadline:
            self._schedule_deadline(deadline)
        try:
            await request.reply
        except asyncio.CancelledError:
            self._metrics.dropped("abandoned", request.missing)
            raise
        finally:
            self._unanswered.discard(request)
            if request.missing:
                self._queue = deque(entry for entry in self._queue if entry.request is not request)
        return [outcome or DeadlinePassed("the answer was not ready in time") for outcome in request.outcomes]

    async def stop(self) -> None:
        """Refuses new pictures, finishes the accepted ones, ends the threads."""
        self._stopping = True
        self._dispatch()
        await self._threads.join()

    def _schedule_deadline(self, deadline: float) -> None:
        """Sets the only timer to the earliest deadline: a timer for each request would rarely be needed."""
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._next_deadline = deadline
        self._deadline_timer = self._loop.call_later(deadline - time.monotonic(), self._expire)

    def _expire(self) -> None:
        """Finishes the requests whose deadline has passed, even while the engine hangs."""
        self._deadline_timer, now = None, time.monotonic()
        for request in [request for request in self._unanswered if request.deadline <= now]:
            self._metrics.dropped("expired", request.missing)
            request.finish()
        if deadlines := [request.deadline for request in self._unanswered if request.deadline > now]:
            self._schedule_deadline(min(deadlines))

    def _engine_failed(self, reason: str, count: int) -> EngineFailed:
        """Counts the pictures that an unhealthy engine does not answer."""
        self._metrics.dropped("failed", count)
        return EngineFailed(f"the engine is unhealthy: {reason}")

    def _enqueue(self, entries: list[QueueEntry[Result]], first: bool) -> None:
        if self._stopping:
            raise NotReady("the service is stopping")
        if first:
            self._queue.extendleft(reversed(entries))
        else:
            self._queue.extend(entries)
        self._schedule_dispatch()

    def _schedule_dispatch(self) -> None:
        if not self._dispatch_scheduled:
            self._dispatch_scheduled = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Gives the waiting pictures to free threads; ends the threads when no more pictures will come."""
        self._dispatch_scheduled = False
        if len(self._queue) < MIN_PARALLEL_BATCH and self._arriving():
            self._schedule_dispatch()  # one batch of the pictures that arrive together, instead of one each iteration
            return
        while (thread := self._schedule.free_thread) is not None and (size := self._next_batch_size()):
            batch = [self._queue.popleft() for _ in range(size)]
            self._schedule.start(thread, size, time.monotonic())
            self._threads.submit(thread, batch)
        self._metrics.queue.set(len(self._queue))  # set here because another worker may answer /metrics
        if self._stopping and not self._queue:
            self._threads.stop()

    def _next_batch_size(self) -> int:
        from_array = bool(self._queue) and self._queue[0].request.array is not None
        return self._schedule.next_batch_size(len(self._queue), from_array)

    def _deliver(self, outcomes: Outcomes[Result]) -> None:
        """Sets the outcomes of a batch and gives the free thread its next batch."""
        unhealthy = self.health.unhealthy_reason
        for entry, outcome in outcomes:
            if unhealthy is not None and isinstance(outcome, Answer) and not entry.request.urgent:
                outcome = self._engine_failed(unhealthy, 1)
            entry.request.set_outcome(entry.index, outcome)
        self._dispatch()
