"""One HTTP/1.1 connection, with limits: slow, silent and oversized requests are ended."""

import asyncio
from typing import Any

from app.asgi import BODY_ARRIVED, CLIENT_DISCONNECTED, DRAINING, ON_DISCONNECT, Response
from app.errors import HeadersTooLarge, HeadersTooSlow, MalformedRequest, ServiceError
from app.http.uvicorn_internals import BaseProtocol
from app.http.write_coalescing import CoalescingTransport

MAX_HEADER_BYTES = 64 * 1024
"""Bytes of a request line and its headers. Of a body, the bytes between two pieces of its data, and its trailers."""

MAX_HEADERS = 256
"""Headers of a request. Thousands of short ones would take thirty times their bytes in memory."""

MAX_PIPELINED = 64
"""Requests that a connection may send before the first of them is answered."""

BODY_HEADERS = (b"content-length", b"transfer-encoding")

UPGRADE_WITH_BODY = "a request with a body cannot ask for another protocol: leave out the header Upgrade"

WRITE_TIMEOUT = 20.0
"""Seconds after which a client that does not read its response loses its connection."""

TOO_LARGE = HeadersTooLarge(
    f"there are more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES} bytes of them or trailers"
)


NEXT_REQUEST, HEADERS, BODY = "next request", "headers", "body"
"""What the next bytes of a connection belong to."""


class Protocol(BaseProtocol):
    """One connection.

    A request's headers have to arrive within HEADER_TIMEOUT of connecting, or of their first byte on a connection that
    is used again. The timer runs only while headers are missing: headers that arrive in one chunk need none.
    """

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._header_timeout: float = config.settings.header_timeout
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._expected = NEXT_REQUEST
        self._overhead_bytes = 0
        """Bytes of headers that have arrived, or of what a body has beside its data: sizes and extensions of chunks,
        trailers. The rest of a read in which a request, its headers or a piece of data ends is not counted."""
        self._may_be_too_large = False
        """Whether headers that end in this read can have more bytes than they may."""
        self._ignore_input = False
        """Whether the input is not HTTP any more, and the connection closes after the pending responses."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CoalescingTransport(transport, self.loop, WRITE_TIMEOUT))  # type: ignore[arg-type]
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        scope = self.request_scope
        if scope is not None:
            scope[CLIENT_DISCONNECTED] = True
            if on_disconnect := scope.get(ON_DISCONNECT):
                on_disconnect()
        self._cancel_header_timer()
        if self._write_timer:
            self._write_timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._ignore_input:
            return
        if self._expected != BODY and b"\nUpgrade:" in data:
            data = _without_upgrade(data)
        self._overhead_bytes += len(data)
        self._may_be_too_large = self._expected == HEADERS or len(data) > MAX_HEADER_BYTES
        super().data_received(data)
        too_many = self._expected == HEADERS and len(self.headers) > MAX_HEADERS
        if too_many or (self._overhead_bytes > MAX_HEADER_BYTES and self._expected != NEXT_REQUEST):
            self.refuse(TOO_LARGE)
        if self._header_timer is None and (self._expected == HEADERS or self.idle):
            self._start_header_timer()  # idle: answered, but its body still arrives

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expected = HEADERS

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ValueError(f"more than {MAX_PIPELINED} requests without waiting for an answer")  # a parser error
        if len(self.headers) > MAX_HEADERS or (self._may_be_too_large and self.header_size() > MAX_HEADER_BYTES):
            raise ValueError(str(TOO_LARGE))
        if self.transport.is_closing():  # the response before was the last
            return
        if self._header_timer:
            self._cancel_header_timer()
        is_upgrade = self.parser.should_upgrade()
        if is_upgrade and any(name in BODY_HEADERS for name, _ in self.headers):
            raise ValueError(UPGRADE_WITH_BODY)
        super().on_headers_complete()
        if is_upgrade:  # it is answered, and what follows is not read
            self.close_after_response()
            self._ignore_input = True
        self._expected, self._overhead_bytes = BODY, 0
        self.headers = []  # uvicorn adds trailers to it; the request's scope has the headers

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._overhead_bytes = 0

    def on_message_complete(self) -> None:
        self._expected, self._overhead_bytes = NEXT_REQUEST, 0
        super().on_message_complete()
        self.scope[BODY_ARRIVED] = True
        if self.flow.read_paused and not self.pipeline:  # after a large body; the client's end would go unnoticed
            self.flow.resume_reading()
        if self.close_after_body:
            self.transport.close()
        elif self._header_timer and self.idle:  # the response was sent before the body's end
            self._cancel_header_timer()
            self.start_keep_alive_timer()

    def early_response(self, scope: dict[str, Any]) -> Response | None:
        """Rejects a request before the application sees it (app.middleware.early_rejection)."""
        if self.app_state[DRAINING]:
            self.close_after_response()
        early_rejection = self.app_state.get("early_rejection")
        response: Response | None = early_rejection.check(scope) if early_rejection else None
        return response

    def malformed_request(self) -> None:
        too_large = self._expected == HEADERS and (
            len(self.headers) > MAX_HEADERS or self.header_size() > MAX_HEADER_BYTES
        )
        detail = UPGRADE_WITH_BODY if self.parser.should_upgrade() else "this is not an HTTP request"
        self.refuse(TOO_LARGE if too_large else MalformedRequest(detail))

    def refuse(self, error: ServiceError) -> None:
        """Answers with the error and closes the connection; after the pending responses, if there are some."""
        if self.transport.is_closing():
            return
        self.drop_unfinished()
        if not self.idle and self.body_complete:
            self.close_after_response(started=True)
            self._ignore_input = True
            return
        answered = self.idle and self._expected == BODY
        early_rejection = self.app_state.get("early_rejection")
        if early_rejection and not answered:
            status, headers, body = early_rejection.refuse(error, self.headers if self._expected == HEADERS else ())
            self.write_response(status, [*headers, (b"connection", b"close")], body)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(self._header_timeout, self._headers_too_slow)

    def _headers_too_slow(self) -> None:
        self._header_timer = None
        if self._expected == HEADERS:
            self.refuse(HeadersTooSlow(f"the headers did not arrive within {self._header_timeout:g} s"))
        else:
            self.transport.close()

    def _cancel_header_timer(self) -> None:
        if self._header_timer:
            self._header_timer.cancel()
            self._header_timer = None


def _without_upgrade(data: bytes) -> bytes:
    """Renames the header of a request that begins in `data`, because HTTP/1.1 is the only protocol here.

    Java's HttpClient and `curl --http2` ask each server for HTTP/2. httptools then takes the body for the next request.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return head.replace(b"\nUpgrade:", b"\nIgnored:") + end + rest
