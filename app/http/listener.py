"""Accepts connections from a listening socket, many per turn of the event loop.

libuv accepts one per turn. While the event loop is busy rejecting requests, a burst of connections, and a health probe
behind it, would wait for seconds.
"""

import asyncio
import ctypes
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger(__name__)

ACCEPTS_PER_TURN, ACCEPTS_PER_TURN_SHARED = 64, 4
"""Connections accepted per turn of the event loop: by the only process, and where other processes share the socket."""

RETRY_DELAY = 0.1
"""Seconds before the next attempt when no connection can be accepted, for example with too many open files."""

SO_ATTACH_FILTER = 26
"""Linux (socket(7)); Python's socket module lacks it."""


class Listener:
    """Accepts connections from a socket that listens already, given by its file descriptor.

    `protocol` makes a connection's protocol. `shared`: other processes accept from the same socket.
    """

    def __init__(self, descriptor: int, protocol: Callable[[], asyncio.BaseProtocol], *, shared: bool) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._socket.setblocking(False)
        self._protocol = protocol
        self._accepts_per_turn = ACCEPTS_PER_TURN_SHARED if shared else ACCEPTS_PER_TURN
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._listen()

    async def close(self, *, accept_pending: bool = True) -> None:
        """Stops listening. Connections that the kernel has made already are accepted first: closing would reset them.

        Without `accept_pending` they are left to the other processes that share the socket.
        """
        if accept_pending:
            _drop_new_connections(self._socket)
        self._loop.remove_reader(self._socket)
        if self._retry:
            self._retry.cancel()
        with suppress(OSError):
            while accept_pending and self._accept():
                pass
        self._socket.close()
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._accept_many)

    def _accept_many(self) -> None:
        try:
            for _ in range(self._accepts_per_turn):
                if not self._accept():
                    break
        except OSError as error:
            log.error("no connection can be accepted: %s", error)
            self._loop.remove_reader(self._socket)
            self._retry = self._loop.call_later(RETRY_DELAY, self._listen)

    def _accept(self) -> bool:
        """Accepts one connection. False if none is pending. Raises OSError if it cannot be accepted."""
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return False
        except ConnectionError:  # the client has disconnected
            return True
        connection.setblocking(False)
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return True

    async def _connect(self, connection: socket.socket) -> None:
        with suppress(OSError):  # the client has disconnected
            await self._loop.connect_accepted_socket(self._protocol, connection)


def _drop_new_connections(listening: socket.socket) -> None:
    """Makes the kernel drop further connection requests, so that none arrives between the last accept and the close.

    The filter is one instruction of classic BPF: accept 0 bytes of each packet. A client whose request is dropped asks
    again, and is refused once the socket is closed. Does nothing on other systems than Linux.
    """
    if sys.platform != "linux":
        return
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
