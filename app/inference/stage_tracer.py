"""Callbacks by which the classifier reports the stages of a request. app.tracing makes spans of them."""

from collections.abc import Iterable
from typing import Protocol

from app.inference.batching.requests import Outcome
from app.inference.scores import Scores


class StageTracer(Protocol):
    """Called in the event loop, in the context of the request."""

    def decoded(self, started: float, ended: float) -> None:
        """A picture was decoded and preprocessed; time.monotonic() seconds."""

    def answered(self, outcomes: Iterable[Outcome[Scores]]) -> None:
        """Pictures have come back from the engine."""
