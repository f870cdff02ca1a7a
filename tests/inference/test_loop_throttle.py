"""How much is computed in each iteration of the event loop."""

import asyncio
import statistics
import time
from itertools import pairwise

import pytest

from app.inference.loop_throttle import MAX_SECONDS, LoopThrottle

CALLERS = 60


def compute() -> None:
    end = time.monotonic() + MAX_SECONDS / 3
    while time.monotonic() < end:
        pass


async def play(throttle: LoopThrottle) -> list[int]:
    """How many of a burst of callers have their result, after each iteration of the event loop."""
    done: list[int] = []

    async def caller(number: int) -> None:
        await throttle.run(compute)
        done.append(number)

    callers, seen = [asyncio.create_task(caller(i)) for i in range(CALLERS)], []
    while len(done) < CALLERS:
        await asyncio.sleep(0)
        seen.append(len(done))
    await asyncio.gather(*callers)
    assert done == list(range(CALLERS))
    return seen


def test_a_burst_passes_bit_by_bit_in_its_order() -> None:
    seen = asyncio.run(play(LoopThrottle(lambda: False)))
    assert max(steps(seen)) <= 4


def test_under_overload_fewer_run_in_an_iteration() -> None:
    free, crowded = asyncio.run(play(LoopThrottle(lambda: False))), asyncio.run(play(LoopThrottle(lambda: True)))
    assert len(crowded) > len(free)
    assert statistics.median(steps(crowded)) == 1  # more in an iteration that the system has interrupted for long


def steps(seen: list[int]) -> list[int]:
    return [after - before for before, after in pairwise([0, *seen])]


def test_errors_and_cancelled_callers() -> None:
    async def run() -> None:
        throttle, ran = LoopThrottle(lambda: False), []
        first = asyncio.create_task(throttle.run(compute))
        failing = asyncio.create_task(throttle.run(lambda: 1 // 0))
        gone = asyncio.create_task(throttle.run(lambda: ran.append("gone")))
        last = asyncio.create_task(throttle.run(lambda: "last"))
        await asyncio.sleep(0)  # all wait but the first
        gone.cancel()
        assert await last == "last"
        assert first.done()
        with pytest.raises(ZeroDivisionError):
            await failing
        assert ran == []
        assert throttle.waiting == 0

    asyncio.run(run())
