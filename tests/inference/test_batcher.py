"""What the engine is given ahead: full batches alone, begun when a lane is free, and all threads end."""

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.inference.batching.batcher import Batcher
from app.inference.batching.requests import Answer
from app.metrics import Metrics

LANES, AHEAD, BATCH = 2, 1, 16
WHILE = 0.2
"""Seconds: of them nothing is taken that is not full, and a batch held ahead is not the engine's work."""

PICTURE = np.zeros((96, 96), np.uint8)


class Engine:
    """Holds every batch until it is told to go on."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.arrived, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, pixels: NDArray[np.uint8]) -> Sequence[int]:
        self.sizes.append(len(pixels))
        self.arrived.release()
        assert self.go_on.acquire(timeout=60)
        return [0] * len(pixels)


async def arrived(engine: Engine, batches: int) -> None:
    for _ in range(batches):
        assert await asyncio.to_thread(engine.arrived.acquire, timeout=60)


def started(engine: Engine) -> Batcher[int]:
    batcher: Batcher[int] = Batcher(
        engine, lambda: True, lanes=LANES, ahead=AHEAD, max_batch_size=BATCH, max_array_batch_size=64, metrics=Metrics()
    )
    batcher.start()
    return batcher


def asked(batcher: Batcher[int], pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> asyncio.Task:
    return asyncio.create_task(batcher.submit(pictures, time.monotonic() + 60))


def test_full_batches_are_taken_ahead_and_begin_when_a_lane_is_free() -> None:
    async def play() -> None:
        engine = Engine()
        batcher = started(engine)
        first = asked(batcher, LANES * BATCH * [PICTURE])
        await arrived(engine, LANES)
        too_few = asked(batcher, (BATCH - 1) * [PICTURE])
        assert not await asyncio.to_thread(engine.arrived.acquire, timeout=WHILE)
        assert (engine.sizes, batcher.waiting) == (LANES * [BATCH], BATCH - 1)

        one_more = asked(batcher, [PICTURE])
        await arrived(engine, 1)
        assert (engine.sizes, batcher.waiting) == ((LANES + 1) * [BATCH], 0)
        await asyncio.sleep(WHILE)
        engine.go_on.release(LANES)
        assert all(isinstance(answer, Answer) for answer in await first)
        next_full = asked(batcher, BATCH * [PICTURE])
        await arrived(engine, 1)  # in one of the first batches' threads: that lane is known to be free
        engine.go_on.release(2)
        await next_full
        for answer in (*await too_few, *await one_more):
            assert answer.queued >= WHILE
        await batcher.stop()

    asyncio.run(play())
    for thread in threading.enumerate():
        if thread.name.startswith("engine-"):
            thread.join(60)
            assert not thread.is_alive(), thread.name


def test_arrays_are_not_taken_ahead() -> None:
    async def play() -> None:
        engine = Engine()
        batcher = started(engine)
        answers = asked(batcher, np.zeros((4 * 64, 96, 96), np.uint8))
        await arrived(engine, LANES)
        assert (engine.sizes, batcher.waiting) == (LANES * [64], 2 * 64)
        engine.go_on.release(8)  # what is left may be shared between both lanes
        assert len(await answers) == 4 * 64
        await batcher.stop()

    asyncio.run(play())
