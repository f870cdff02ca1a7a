"""A listening socket from which all who wait are accepted at once.

libuv takes one connection each time around the event loop: where a loop turns many away and is slow, a crowd, and the
probe behind it, would wait for seconds.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger(__name__)

ALONE, SHARED = 64, 4
"""Connections that are accepted each time around the event loop, by the only process and where others want some too."""

PAUSE = 0.1
"""Seconds until the next try where none can be had, because too many files are open."""


class Listener:
    """Takes over a socket that listens already, by its file descriptor; it may be shared with other processes.

    `protocol` makes a connection's protocol.
    """

    def __init__(self, descriptor: int, protocol: Callable[[], asyncio.BaseProtocol], *, shared: bool) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._socket.setblocking(False)
        self._protocol = protocol
        self._at_once = SHARED if shared else ALONE
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._listen()

    async def close(self, *, leave: bool = False) -> None:
        """Takes in the connections that the kernel has made already, which closing the port would break.

        They may be left to other processes, if some have the port as well.
        """
        self._loop.remove_reader(self._socket)
        if self._again:
            self._again.cancel()
        with suppress(OSError):
            while not leave and self._accept():
                pass
        self._socket.close()
        if self._beginning:
            await asyncio.wait(self._beginning)

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._take)

    def _take(self) -> None:
        try:
            for _ in range(self._at_once):
                if not self._accept():
                    break
        except OSError as error:
            log.error("no connection can be accepted: %s", error)
            self._loop.remove_reader(self._socket)
            self._again = self._loop.call_later(PAUSE, self._listen)

    def _accept(self) -> bool:
        """Whether there was one, and might be another. Raises OSError where none can be had."""
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return False
        except ConnectionError:  # has left
            return True
        connection.setblocking(False)
        task = self._loop.create_task(self._begin(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        return True

    async def _begin(self, connection: socket.socket) -> None:
        with suppress(OSError):  # has left
            await self._loop.connect_accepted_socket(self._protocol, connection)
