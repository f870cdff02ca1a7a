"""A transport that joins small writes: a response's headers and body leave as one packet instead of two."""

import asyncio
from typing import Any


class CoalescingTransport:
    """Writes once per iteration of the event loop. Everything else is the wrapped transport's.

    `close_timeout`: seconds in which the client has to read the rest after close().
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, close_timeout: float) -> None:
        self._transport, self._loop, self._close_timeout = transport, loop, close_timeout
        self._chunks: list[bytes] = []
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._chunks:
            self._loop.call_soon(self._send)
        self._chunks.append(data)

    def close(self) -> None:
        """Sends what was written, then closes the connection."""
        self._send()
        self._transport.close()
        if self._transport.get_write_buffer_size():  # asyncio would wait for the client for ever
            self._loop.call_later(self._close_timeout, self._transport.abort)

    def _send(self) -> None:
        chunks, self._chunks = self._chunks, []
        if chunks and not self.is_closing():
            self._transport.write(b"".join(chunks))
