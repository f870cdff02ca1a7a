"""An engine that answers at once and makes the service measure the CPU time of each stage of a request.

GOOGLENET_ENGINE=benchmarks.harness.stage_timer:StageTimer. On SIGUSR2 the service appends the sums so
far, as a line of JSON, to the file named by FASHION_GOOGLENET_STAGES. A stage counts its thread's CPU time without that
of the stages inside it. The cost of measuring is measured too, as a stage of its own.
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
from app.inference import preparation
from app.inference.batching import batcher, engine_threads
from app.middleware import request_log
from benchmarks.harness.instant_engine import InstantEngine
from model.checkpoint import Checkpoint

FILE_VARIABLE = "FASHION_GOOGLENET_STAGES"

STAGES: dict[str, list[tuple[Any, str]]] = {
    "read and parse the request": [(protocol.Protocol, "data_received")],
    "middleware and handler": [(uvicorn_internals.RequestResponseCycle, "run_asgi")],
    "body and form": [(predict, "read_pictures")],
    "decode and resize": [(preparation.Preparation, "_prepare_tiny")],
    "queue: form batches, hand over": [(batcher.Batcher, "_enqueue"), (batcher.Batcher, "_dispatch")],
    "engine's threads: stack, score": [(engine_threads.EngineThreads, "_answer")],
    "queue: give answers out": [(batcher.Batcher, "_deliver")],
    "answer and its JSON": [(predict, "prediction_fields"), (predict, "timed_response")],
    "send": [(write_coalescing.CoalescingTransport, "_send")],
    "log and metrics of requests": [(request_log.RequestLog, "add"), (logs.BatchingHandler, "flush")],
}
"""The functions that make up each stage. Everything else is the event loop and switching between threads."""

MEASURING, EMPTY_STAGES = "measuring", 10_000
"""Name of the stage for the cost of measuring, and how many empty stages are run to find that cost."""

cpu_seconds: Counter[str] = Counter()
"""CPU seconds so far, by stage."""
_stack = threading.local()


class StageTimer(InstantEngine):
    """As InstantEngine. Building it starts the measurement."""

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        super().__init__(checkpoint, device)
        if not cpu_seconds:
            _Stage.cost = _cost_of_a_stage()
            cpu_seconds.clear()
            _start_measuring()


def _start_measuring() -> None:
    for stage, functions in STAGES.items():
        cpu_seconds[stage] = 0
        for owner, name in functions:
            setattr(owner, name, _timed(getattr(owner, name), stage))
    start = batcher.Batcher.start

    def start_and_listen(self: Any) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, _write_sums)
        start(self)

    batcher.Batcher.start = start_and_listen  # type: ignore[method-assign]


def _write_sums() -> None:
    with Path(os.environ[FILE_VARIABLE]).open("a") as file:
        file.write(json.dumps({"stages": cpu_seconds, "cpu": time.process_time()}) + "\n")


def _timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*arguments: Any, **options: Any) -> Any:
            return await _TimedCoroutine(function(*arguments, **options), stage)

        return awaited

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        with _Stage(stage):
            return function(*arguments, **options)

    return called


def _cost_of_a_stage() -> float:
    """CPU seconds that an empty stage takes and does not count itself."""
    began = time.thread_time()
    for _ in range(EMPTY_STAGES):
        with _Stage(MEASURING):
            pass
    return (time.thread_time() - began - cpu_seconds[MEASURING]) / EMPTY_STAGES


class _Stage:
    """Adds the thread's CPU time in the `with` block to the stage, without that of the stages inside it."""

    cost = 0.0

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def __enter__(self) -> None:
        self._outer = getattr(_stack, "innermost", None)
        _stack.innermost, self.inner_seconds = self, 0.0
        self._began = time.thread_time()

    def __exit__(self, *_: object) -> None:
        taken = time.thread_time() - self._began
        cpu_seconds[self._stage] += taken - self.inner_seconds
        cpu_seconds[MEASURING] += self.cost
        _stack.innermost = self._outer
        if self._outer is not None:
            self._outer.inner_seconds += taken + self.cost


class _TimedCoroutine:
    """Awaits a coroutine and counts each of its steps as the stage."""

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
