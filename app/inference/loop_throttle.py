"""Taking turns in the event loop, so that it gets to its other work in between."""

import asyncio
from collections import deque


class LoopThrottle:
    """Lets `count` callers pass each time around the event loop, the others later, in their order.

    A burst of requests whose work is done in the loop would otherwise keep it from everything else: from answering
    those before them, and from turning away those behind them.
    """

    def __init__(self, count: int) -> None:
        self._count = self._left = count
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._armed = False

    @property
    def waiting(self) -> int:
        """Callers whose turn is still to come."""
        return len(self._waiting)

    async def take(self) -> None:
        """Returns when it is the caller's turn: at once, if there are few."""
        loop = asyncio.get_running_loop()
        if not self._armed:
            self._armed = True
            loop.call_soon(self._next, loop)
        if self._left:
            self._left -= 1
            return
        self._waiting.append(turn := loop.create_future())
        await turn

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = self._count
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():  # cancelled
                turn.set_result(None)
                self._left -= 1
        self._armed = self._left < self._count
        if self._armed:
            loop.call_soon(self._next, loop)
