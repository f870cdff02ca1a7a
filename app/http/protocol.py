"""HTTP/1.1 as uvicorn speaks it, with an end to a client's patience: no connection is held open by doing nothing."""

import asyncio
import select
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.errors import HeadersTooLarge, HeadersTooSlow, MalformedRequest, ServiceError
from app.http.write_coalescing import CoalescingTransport

LONGEST_HEAD = 64 * 1024
"""Bytes of a request's line and headers."""

PIPELINED = 64
"""Requests that a connection may send before the first of them is answered."""

WRITE_TIMEOUT = 20.0
"""Seconds in which a client that does not read its answer loses its connection."""

TOO_LARGE = HeadersTooLarge(f"the headers have more than {LONGEST_HEAD} bytes")


class State(ServerState):
    """What all connections of a process share."""

    draining = False
    """Whether every answer ends its connection."""


class Protocol(HttpToolsProtocol):
    """One connection.

    A request's head has to arrive within HEADER_TIMEOUT of connecting, or of its first byte on a connection that
    is used again. There is a timer only while a head is being waited for: one that comes whole, as they do, costs none.
    """

    server_state: State

    def __init__(self, config: Any, server_state: State, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_timeout: float = config.header_timeout
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._between, self._in_head = True, False
        """Where the bytes that come next belong: to no request yet; to a request's head."""
        self._head_bytes = self._piece = self._heads = 0
        """Bytes of that head; of the piece that is being looked at, and how many heads have begun in it."""
        self._ends = False
        """Whether the connection ends with the body that is arriving, whose request has been refused …"""
        self._deaf = False
        """… or with the answers that are under way, because what follows them is no request."""

    @property
    def idle(self) -> bool:
        """Whether no request is being answered; the next one's head may be on its way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CoalescingTransport(transport, self.loop, WRITE_TIMEOUT))  # type: ignore[arg-type]
        self._timer = self.loop.call_later(self._header_timeout, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.cycle is not None and not self.cycle.response_complete:
            on_disconnect = cast("dict[str, Any]", self.cycle.scope).get("on_disconnect")  # app.api.disconnect
            if on_disconnect:
                on_disconnect()
        self._end_timer()
        if self._write_timer:
            self._write_timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        between, self._piece, self._heads = self._between, len(data), 0
        super().data_received(data)
        if self._in_head:
            alone = self._heads == 0 or (self._heads == 1 and between)  # with no other request's bytes in the piece
            self._head_bytes += len(data) if alone else self._size_of_head()
            if self._head_bytes > LONGEST_HEAD:
                self.refuse(TOO_LARGE)
        if self._timer is None and (self._in_head or self.idle):  # idle: the rest of a body that nobody waited for
            self._timer = self.loop.call_later(self._header_timeout, self._too_slow)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._between, self._in_head, self._head_bytes = False, True, 0
        self._heads += 1

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise ValueError(f"more than {PIPELINED} requests without waiting for an answer")  # ends the connection
        if (self._heads == 0 or self._piece > LONGEST_HEAD) and self._size_of_head() > LONGEST_HEAD:
            raise ValueError(str(TOO_LARGE))
        if self.transport.is_closing():  # what follows an answer that was the last
            return
        if self._timer:
            self._end_timer()
        super().on_headers_complete()
        self._in_head = False

    def _size_of_head(self) -> int:
        """In bytes, as far as whole lines of it have come."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()
        if self.cycle is not None:
            cast("dict[str, Any]", self.cycle.scope)["body_arrived"] = True  # app.api.upload.body
        if self._ends:
            self.transport.close()
            return
        if self._timer and self.idle:  # the answer was there before the body's end
            self._end_timer()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begins a request, or rejects it early (app.middleware.early_rejection)."""
        if self.server_state.draining and cycle is self.cycle:
            cycle.keep_alive = False
        door = self.app_state.get("door")
        refusal = door.refusal(cycle.scope) if door else None
        if refusal is None:
            super()._start_asgi_task(cycle, app)
            return
        if not cycle.keep_alive:
            refusal[1].append((b"connection", b"close"))
        self._write(*refusal)
        cycle.response_started = cycle.response_complete = True
        if cycle.keep_alive:
            self.on_response_complete()
        elif cycle.more_body:  # closing at once would throw the answer away with what still comes
            self._ends = True
        else:
            self.transport.close()

    def announce_end(self) -> None:
        """Makes the answer that is being worked on the last of its connection, if it can still say so."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        too_large = self._in_head and self._size_of_head() > LONGEST_HEAD
        self.refuse(TOO_LARGE if too_large else MalformedRequest("this is no HTTP request"))

    def refuse(self, error: ServiceError) -> None:
        """Answers with the problem and ends the connection; or ends it behind the answers that are under way."""
        if self.transport.is_closing():
            return
        if not self.idle and not self.cycle.more_body:
            self.cycle.keep_alive, self._deaf = False, True
            return
        door = self.app_state.get("door")
        if door and not self._ends:
            status, headers, body = door.turn_away(error, self.headers if self._in_head else ())
            self._write(status, [*headers, (b"connection", b"close")], body)
        self.transport.close()

    def _write(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A whole answer."""
        lines = [b"%s: %s\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """A request that came while the event loop was held up, whose timers go first, is in time."""
        if not self._has_unread():
            super().timeout_keep_alive_handler()

    def _has_unread(self) -> bool:
        """Whether something has arrived, be it the connection's end, that the event loop will hand over now."""
        waiting = select.poll()
        waiting.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(waiting.poll(0))

    def _too_slow(self) -> None:
        self._timer = None
        if self._in_head:
            self.refuse(HeadersTooSlow(f"the headers did not arrive within {self._header_timeout:g} s"))
        else:
            self.transport.close()

    def _end_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
