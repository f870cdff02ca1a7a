"""A transport that sends what was written to it together: an answer's head and body as one packet, not two."""

import asyncio
from typing import Any


class CoalescingTransport:
    """Writes once each time around the event loop; all else is the transport's own.

    `patience`: seconds in which the last of it has to be taken once the connection is to end.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, patience: float) -> None:
        self._transport, self._loop, self._patience = transport, loop, patience
        self._pieces: list[bytes] = []
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._pieces:
            self._loop.call_soon(self._send)
        self._pieces.append(data)

    def close(self) -> None:
        """Sends what was written, and ends the connection."""
        self._send()
        self._transport.close()
        if self._transport.get_write_buffer_size():  # a transport that closes waits for its client without end
            self._loop.call_later(self._patience, self._transport.abort)

    def _send(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces and not self.is_closing():
            self._transport.write(b"".join(pieces))
