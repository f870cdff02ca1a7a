"""How many callers continue in each iteration of the event loop."""

import asyncio

from app.inference.loop_throttle import LoopThrottle

COUNT, CALLERS = 4, 200


def test_a_burst_passes_bit_by_bit() -> None:
    async def play() -> list[int]:
        turns, passed, seen = LoopThrottle(lambda: COUNT), 0, []

        async def caller() -> None:
            nonlocal passed
            await turns.acquire()
            passed += 1

        callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
        while passed < CALLERS:
            await asyncio.sleep(0)
            seen.append(passed)
        await asyncio.gather(*callers)
        return seen

    steps = asyncio.run(play())
    assert steps[0] <= COUNT
    assert len(steps) > CALLERS / COUNT / 4
