"""The pictures of one request while they wait for the engine, and the outcome of each."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from app.errors import ServiceError
from model.preprocess import Pixels

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch that the engine has computed: its pictures, time.monotonic() at its start, and its seconds."""

    size: int
    started: float
    seconds: float


class Answer(NamedTuple, Generic[Result]):
    """One picture's result, the size of its batch, and the seconds it spent in the queue and in the engine."""

    result: Result
    batch_size: int
    queued: float
    inference: float
    visits: tuple[tuple[float, Batch], ...]
    """When it was submitted and the batch that it was in: twice if it was tried in other quarter turns."""


Outcome = Answer[Result] | ServiceError


class PendingRequest(Generic[Result]):
    """Pictures that were submitted together and are answered together, by setting `reply`.

    `deadline` is in time.monotonic() seconds.
    """

    def __init__(
        self, pictures: Sequence[Pixels] | Pixels, deadline: float, urgent: bool, reply: "asyncio.Future[None]"
    ) -> None:
        self.array = pictures if isinstance(pictures, np.ndarray) else None
        self.outcomes: list[Outcome[Result] | None] = [None] * len(pictures)
        self.missing = len(pictures)
        self.deadline, self.urgent = deadline, urgent
        self.submitted = time.monotonic()
        self.exemplar: dict[str, str] | None = None
        """The request's trace, for the metrics of its batch; None while no traces are exported."""
        self.reply = reply

    def set_outcome(self, index: int, outcome: "Outcome[Result]") -> None:
        """Replies once every picture has its outcome."""
        self.outcomes[index] = outcome
        self.missing -= 1
        if not self.missing:
            self.finish()

    def finish(self) -> None:
        """Replies with the outcomes that are there."""
        if not self.reply.done():
            self.reply.set_result(None)


@dataclass(eq=False, slots=True)
class QueueEntry(Generic[Result]):
    """One picture, uint8 [96,96], and its index in its request."""

    pixels: Pixels
    request: PendingRequest[Result]
    index: int


def stack(batch: list[QueueEntry[Result]]) -> Pixels:
    """The batch as uint8 [n,96,96]: a view if its pictures are consecutive in one submitted array, otherwise a copy."""
    first, last = batch[0], batch[-1]
    array = first.request.array
    if array is not None and last.request is first.request and last.index - first.index == len(batch) - 1:
        view: Pixels = array[first.index : last.index + 1]
        return view
    return np.stack([entry.pixels for entry in batch])
