"""Many pictures → one batch: a bounded queue and one engine thread, no timer.

When the engine is free it takes whatever waits, up to the largest useful batch; while it is busy the
next batch forms. A lone request waits for nobody. Each entry carries its own reply, as in Hugging
Face's text-embeddings-inference, whose queue this one follows in shape.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.errors import DeadlinePassed, EngineFailed, NotReady, QueueFull, ServiceError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Answer(Generic[Result]):
    """One picture's result and how it came about; times in seconds."""

    result: Result
    batch_size: int
    queued: float
    inference: float


@dataclass(eq=False)
class _Entry(Generic[Result]):
    pixels: Pixels
    deadline: float
    submitted: float
    reply: "asyncio.Future[Answer[Result]]"


_Outcome = tuple[_Entry[Result], Answer[Result] | ServiceError]


class Batcher(Generic[Result]):
    """Runs `run` (uint8 [n,96,96] → n results) in a thread of its own on whatever waits.

    Everything but `run` is called in the event loop that `start` was called in.
    """

    def __init__(self, run: Callable[[Pixels], Sequence[Result]], *, max_batch_size: int, queue_size: int) -> None:
        self.max_batch_size = max_batch_size
        self.queue_size = queue_size
        self._run = run
        self._queue: deque[_Entry[Result]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._finished = asyncio.Event()
        self._seconds_per_picture = 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Pictures in the queue, those being computed not counted."""
        return len(self._queue)

    async def submit(self, pixels: Pixels, deadline: float, *, urgent: bool = False) -> Answer[Result]:
        """One picture, uint8 [96,96], answered by `deadline` (time.monotonic()).

        An urgent picture goes to the front and past a full queue. Cancelling frees the place at once.

        Raises QueueFull, NotReady, EngineFailed, DeadlinePassed.
        """
        (entry,) = self._enqueue([pixels], deadline, urgent)
        try:
            async with asyncio.timeout_at(self._loop.time() + deadline - time.monotonic()):
                return await entry.reply
        except TimeoutError:
            raise DeadlinePassed("the answer was not ready in time") from None
        finally:
            if not entry.reply.done() or entry.reply.cancelled():
                self._forget(entry)

    async def submit_many(self, pictures: Sequence[Pixels], deadline: float) -> list[Answer[Result] | ServiceError]:
        """Several pictures, accepted together or refused together; an error in the place of one that failed.

        Raises QueueFull, NotReady.
        """
        entries = self._enqueue(pictures, deadline, urgent=False)
        if not entries:
            return []
        try:
            await asyncio.wait([entry.reply for entry in entries], timeout=deadline - time.monotonic())
            return [_outcome(entry.reply) for entry in entries]
        finally:
            for entry in entries:
                if not entry.reply.done():
                    entry.reply.cancel()
                    self._forget(entry)

    async def stop(self) -> None:
        """Refuses new work, finishes what was accepted, ends the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        await self._finished.wait()

    def _enqueue(self, pictures: Sequence[Pixels], deadline: float, urgent: bool) -> list[_Entry[Result]]:
        now = time.monotonic()
        entries = [_Entry(pixels, deadline, now, self._loop.create_future()) for pixels in pictures]
        with self._changed:
            if self._stopping:
                raise NotReady("the service is stopping")
            waiting = len(self._queue)
            if waiting + len(entries) > self.queue_size and not urgent:
                drained = waiting * self._seconds_per_picture
                raise QueueFull(f"{waiting} pictures are waiting already", retry_after=drained)
            if urgent:
                self._queue.extendleft(entries)
            else:
                self._queue.extend(entries)
            self._changed.notify()
        return entries

    def _forget(self, entry: _Entry[Result]) -> None:
        with self._changed:
            if entry in self._queue:
                self._queue.remove(entry)

    def _work(self) -> None:
        """The engine thread: one turn a batch, one wake-up of the event loop a turn."""
        while True:
            with self._changed:
                while not self._queue and not self._stopping:
                    self._changed.wait()
                if not self._queue:
                    break
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self.max_batch_size))]
            now = time.monotonic()
            alive = [entry for entry in batch if entry.deadline > now and not entry.reply.done()]
            expired: list[_Outcome[Result]] = [
                (entry, DeadlinePassed("the deadline passed in the queue")) for entry in batch if entry.deadline <= now
            ]
            outcomes = expired + (self._compute(alive) if alive else [])
            self._loop.call_soon_threadsafe(_deliver, outcomes)
        self._loop.call_soon_threadsafe(self._finished.set)

    def _compute(self, batch: list[_Entry[Result]]) -> "list[_Outcome[Result]]":
        """Runs the batch; if that fails, every picture by itself, so that a poisonous one fails alone."""
        started = time.monotonic()
        try:
            results = self._run(np.stack([entry.pixels for entry in batch]))
        except Exception:
            log.exception("a batch of %d failed%s", len(batch), ", retrying one by one" if len(batch) > 1 else "")
            if len(batch) == 1:
                return [(batch[0], EngineFailed("the network could not be run on this picture"))]
            return [outcome for entry in batch for outcome in self._compute([entry])]
        inference = time.monotonic() - started
        self._seconds_per_picture += 0.1 * (inference / len(batch) - self._seconds_per_picture)
        return [
            (entry, Answer(result, len(batch), started - entry.submitted, inference))
            for entry, result in zip(batch, results, strict=True)
        ]


def _deliver(outcomes: "list[_Outcome[Result]]") -> None:
    for entry, outcome in outcomes:
        if entry.reply.done():
            continue
        if isinstance(outcome, ServiceError):
            entry.reply.set_exception(outcome)
        else:
            entry.reply.set_result(outcome)


def _outcome(reply: "asyncio.Future[Answer[Result]]") -> "Answer[Result] | ServiceError":
    if not reply.done():
        return DeadlinePassed("the answer was not ready in time")
    error = reply.exception()
    if error is None:
        return reply.result()
    assert isinstance(error, ServiceError)
    return error
