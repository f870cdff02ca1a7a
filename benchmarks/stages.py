"""An engine that answers at once and has the service measure itself: CPU time by stage of a request.

GOOGLENET_ENGINE=benchmarks.stages:Measured. On SIGUSR2 the sums so far are appended to the file that the variable
FASHION_GOOGLENET_STAGES names, as a line of JSON. A stage counts the CPU time of its own thread, without that of the
stages within it. What measuring costs is measured too and is a stage of its own.
"""

import asyncio
import functools
import inspect
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from app import logs
from app.api import predict
from app.http import protocol, uvicorn_internals, write_coalescing
from app.inference import classifier
from app.inference.batching import batcher, engine_threads
from app.middleware import request_log
from benchmarks.stub import AtOnce
from model.checkpoint import Checkpoint

FILE = "FASHION_GOOGLENET_STAGES"

STAGES: dict[str, list[tuple[Any, str]]] = {
    "read and parse the request": [(protocol.Protocol, "data_received")],
    "middleware and handler": [(uvicorn_internals.RequestResponseCycle, "run_asgi")],
    "body and form": [(predict, "read_pictures")],
    "decode and resize": [(classifier.Classifier, "_prepare_tiny")],
    "queue: form batches, hand over": [(batcher.Batcher, "_enqueue"), (batcher.Batcher, "_dispatch")],
    "engine's threads: stack, score": [(engine_threads.EngineThreads, "_answer")],
    "queue: give answers out": [(batcher.Batcher, "_deliver")],
    "answer and its JSON": [(predict, "prediction_fields"), (predict, "timed_response")],
    "send": [(write_coalescing.CoalescingTransport, "_send")],
    "log and metrics of requests": [(request_log.RequestLog, "add"), (logs.BatchingHandler, "flush")],
}
"""Where each begins and ends; what is in none of them is the event loop and the switching between threads."""

MEASURING, EMPTY = "measuring", 10_000
"""What measuring costs is found by so many stages with nothing in them."""

seconds: Counter[str] = Counter()
_stack = threading.local()


class Measured(AtOnce):
    """As AtOnce; measures from the moment it is built."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        super().__init__(checkpoint, device)
        if not seconds:
            _Stage.cost = _cost()
            seconds.clear()
            _measure()


def _measure() -> None:
    for stage, places in STAGES.items():
        seconds[stage] = 0
        for owner, name in places:
            setattr(owner, name, _timed(getattr(owner, name), stage))
    start = batcher.Batcher.start

    def start_and_listen(self: Any) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, _tell)
        start(self)

    batcher.Batcher.start = start_and_listen  # type: ignore[method-assign]


def _tell() -> None:
    with Path(os.environ[FILE]).open("a") as file:
        file.write(json.dumps({"stages": seconds, "cpu": time.process_time()}) + "\n")


def _timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*arguments: Any, **options: Any) -> Any:
            return await _Steps(function(*arguments, **options), stage)

        return awaited

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        with _Stage(stage):
            return function(*arguments, **options)

    return called


def _cost() -> float:
    """CPU seconds that an empty stage takes beside those that it counts."""
    began = time.thread_time()
    for _ in range(EMPTY):
        with _Stage(MEASURING):
            pass
    return (time.thread_time() - began - seconds[MEASURING]) / EMPTY


class _Stage:
    """Adds the thread's CPU time in the block to the stage, less that of the stages within."""

    cost = 0.0

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def __enter__(self) -> None:
        self._outer = getattr(_stack, "innermost", None)
        _stack.innermost, self.within = self, 0.0
        self._began = time.thread_time()

    def __exit__(self, *_: object) -> None:
        taken = time.thread_time() - self._began
        seconds[self._stage] += taken - self.within
        seconds[MEASURING] += self.cost
        _stack.innermost = self._outer
        if self._outer is not None:
            self._outer.within += taken + self.cost


class _Steps:
    """A coroutine, each of whose steps is in the stage."""

    def __init__(self, coroutine: Any, stage: str) -> None:
        self._coroutine, self._stage = coroutine, stage

    def __await__(self) -> Generator[Any, Any, Any]:
        step, value = self._coroutine.send, None
        while True:
            try:
                with _Stage(self._stage):
                    awaited = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = self._coroutine.send, (yield awaited)
            except BaseException as error:
                step, value = self._coroutine.throw, error
