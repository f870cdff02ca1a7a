"""Runs short computations in the event loop, for a bounded time in each iteration, so that it stays responsive."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

MAX_SECONDS = 0.0015
"""Time for computations in an iteration of the event loop. Many in a row take less time each."""

CROWDED_SECONDS, LONG_ITERATION, LONG_SHARE = 0.00005, 0.01, 0.25
"""Under overload a computation delays the refusals, so the time is CROWDED_SECONDS. If the rest of an iteration takes
longer than LONG_ITERATION, because very many are refused, it is LONG_SHARE of the excess: some have to be answered."""

Result = TypeVar("Result")


class LoopThrottle:
    """Runs functions one after the other, in the order of the calls, in the event loop.

    The first call after a pause runs at once. Others follow in the next iterations; the function that exceeds an
    iteration's time is its last. `crowded` says whether there is overload.
    """

    def __init__(self, crowded: Callable[[], bool]) -> None:
        self._crowded = crowded
        self._pending: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._active = False
        self._iteration_began = self._computed = 0.0
        """time.monotonic(), and the seconds of this iteration's functions."""

    @property
    def waiting(self) -> int:
        """Functions that have not run yet."""
        return len(self._pending)

    async def run(self, function: Callable[[], Result]) -> Result:
        """Returns the function's result, or raises its exception. A function whose caller is cancelled does not run."""
        loop = asyncio.get_running_loop()
        if not self._active:
            self._active, self._iteration_began, self._computed = True, time.monotonic(), 0.0
            loop.call_soon(self._run_pending, loop)
            return function()
        result: asyncio.Future[Result] = loop.create_future()
        self._pending.append((function, result))
        return await result

    def _run_pending(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once an iteration, until no function waits."""
        self._active = bool(self._pending)
        if not self._active:
            return
        loop.call_soon(self._run_pending, loop)
        now = time.monotonic()
        end = now + self._seconds(now - self._iteration_began - self._computed)
        self._iteration_began = now
        while self._pending and now < end:
            function, result = self._pending.popleft()
            if result.done():  # cancelled
                continue
            try:
                result.set_result(function())
            except Exception as error:  # of any kind: the caller gets it
                result.set_exception(error)
            now = time.monotonic()
        self._computed = now - self._iteration_began

    def _seconds(self, others: float) -> float:
        """Time for the functions in this iteration. `others` is what everything else took in the last one."""
        if not self._crowded():
            return MAX_SECONDS
        return max(CROWDED_SECONDS, LONG_SHARE * (others - LONG_ITERATION))
