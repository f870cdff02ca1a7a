"""Who takes turns in the event loop: few at a time while it goes round quickly, more where it does not."""

import asyncio
import time

from app.turns import Turns

COUNT, USUAL, CALLERS = 4, 0.002, 200


def rounds(busy: float) -> list[int]:
    """How many have passed after each time around the loop, which something else holds up for so long."""

    async def play() -> list[int]:
        turns, passed, seen = Turns(COUNT, USUAL), 0, []

        async def caller() -> None:
            nonlocal passed
            await turns.take()
            passed += 1

        callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
        while passed < CALLERS:
            await asyncio.sleep(0)
            seen.append(passed)
            until = time.monotonic() + busy  # the other work
            while time.monotonic() < until:
                pass
        await asyncio.gather(*callers)
        return seen

    return asyncio.run(play())


def test_a_burst_passes_bit_by_bit() -> None:
    steps = rounds(busy=0)
    assert steps[0] <= COUNT
    assert len(steps) > CALLERS / COUNT / 4


def test_more_pass_where_the_loop_is_slow() -> None:
    busy = 10 * USUAL
    assert len(rounds(busy)) <= 2 + CALLERS / COUNT / 5
