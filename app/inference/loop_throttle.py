"""Limits how much is computed in one iteration of the event loop, so that it stays responsive."""

import asyncio
from collections import deque
from collections.abc import Callable


class LoopThrottle:
    """Lets `limit()` callers continue in each iteration of the event loop; the others wait in their order.

    A burst of requests that compute in the loop would otherwise block it: earlier requests would get no answer, and
    requests above the limit no refusal.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit, self._remaining = limit, 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reset_scheduled = False

    @property
    def waiting(self) -> int:
        """Callers that are still held back."""
        return len(self._waiting)

    async def acquire(self) -> None:
        """Returns at once while the iteration's limit is not reached, otherwise in a later iteration."""
        if not self._reset_scheduled:
            self._reset_scheduled, self._remaining = True, self._limit()
            loop = asyncio.get_running_loop()
            loop.call_soon(self._reset, loop)
        if self._remaining:
            self._remaining -= 1
            return
        self._waiting.append(released := asyncio.get_running_loop().create_future())
        await released

    def _reset(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the next iteration's count and releases callers that wait."""
        self._remaining = limit = self._limit()
        while self._waiting and self._remaining:
            released = self._waiting.popleft()
            if not released.done():  # not cancelled
                released.set_result(None)
                self._remaining -= 1
        self._reset_scheduled = self._remaining < limit
        if self._reset_scheduled:
            loop.call_soon(self._reset, loop)
