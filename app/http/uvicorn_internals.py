"""All use of uvicorn's undocumented parts: base classes that wrap its HTTP/1.1 connection and its server.

`app.http.protocol` and `app.http.server` extend the base classes and use only the names that these define. No other
module imports uvicorn. pyproject.toml pins uvicorn and httptools to the minor versions that were tested, and
tests/http/test_uvicorn_internals.py names what a new version lacks.
"""

import asyncio
import select
import signal
import socket
from types import FrameType
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.asgi import DRAINING, Response
from app.logs import flush

Config = uvicorn.Config
"""Public."""


class BaseProtocol(HttpToolsProtocol):
    """One HTTP/1.1 connection. uvicorn parses requests, queues pipelined ones and calls the application.

    Private: the whole class. It inherits
    - `headers`, `url` and `scope` of the request that is being read,
    - `pipeline`: requests that wait for the answer before, the latest first,
    - `cycle`: the latest request and its response,
    - `flow`, which pauses and resumes reading, and has `read_paused`,
    - `app_state`, `server_state`, `timeout_keep_alive` in seconds, and the timer `timeout_keep_alive_task`.

    Subclasses may also override the callbacks of asyncio (`data_received`) and httptools (`on_message_begin`), which
    are public.
    """

    scope: dict[str, Any]  # type: ignore[assignment]

    running: RequestResponseCycle = None  # type: ignore[assignment]
    """The request in progress, or the last that was answered. `cycle` differs if requests wait in the pipeline."""

    close_after_body = False
    """Whether the connection closes when the rest of the current body has arrived."""

    def early_response(self, scope: dict[str, Any]) -> Response | None:
        """A response that is sent instead of calling the application; None calls it."""
        raise NotImplementedError

    def malformed_request(self) -> None:
        """The parser has rejected the input."""

    @property
    def idle(self) -> bool:
        """Whether no response is pending. The next request may be arriving."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def request_scope(self) -> dict[str, Any] | None:
        """ASGI scope of the request in progress. None if no response is pending."""
        return None if self.idle else cast("dict[str, Any]", self.running.scope)

    @property
    def body_complete(self) -> bool:
        """Whether the latest request's body has arrived."""
        return self.cycle is not None and not self.cycle.more_body

    def header_size(self) -> int:
        """Bytes of the request's URL and of those headers that are complete."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def close_after_response(self, *, started: bool = False) -> None:
        """Makes the pending response the connection's last. A response that has started is included if `started`."""
        if self.cycle is not None and (started or not self.cycle.response_started):
            self.cycle.keep_alive = False

    def drop_unfinished(self) -> None:
        """Forgets the latest request if it waits for another's response and its body has not arrived."""
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self.running

    def write_response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Writes a complete response without the application."""
        lines = [b"%s: %s\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))

    def start_keep_alive_timer(self) -> None:
        """Closes the connection if no request arrives within the keep-alive timeout."""
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn tells the latest request, which may not have begun, and leaves the timer of a connection reset."""
        self.cycle = self.running
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # private

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Private: uvicorn calls it when a request's turn on its connection has come."""
        self.running = cycle
        response = self.early_response(cast("dict[str, Any]", cycle.scope))
        if response is None:
            super()._start_asgi_task(cycle, app)
            return
        status, headers, body = response
        self.write_response(status, headers if cycle.keep_alive else [*headers, (b"connection", b"close")], body)
        cycle.response_started = cycle.response_complete = True
        if cycle.keep_alive:
            self.on_response_complete()  # private: starts the next request, or the keep-alive timer
        elif cycle.more_body:  # an immediate close would reset the connection, and the client would lose the response
            self.close_after_body = True
        else:
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        """Private: the keep-alive timer calls it.

        Timers run before input is read: a request that arrived while the event loop was busy is in time.
        """
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        if not poll.poll(0):
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Private: uvicorn calls it when httptools cannot parse the input."""
        self.malformed_request()


class BaseServer(uvicorn.Server):
    """One server process. uvicorn installs signal handlers, starts the application and runs the event loop.

    Private: all but `run`, `started`, `should_exit` and `config`. Subclasses also use
    - `server_state`, which connections share,
    - `force_exit`: whether a second signal asks to stop at once.
    """

    supervised = False
    """Whether a supervisor passes signals on."""

    async def on_started(self, sockets: list[socket.socket]) -> None:
        """The application has started and `sockets` listen. From now on the subclass accepts their connections."""

    def on_stop_signal(self, number: int) -> None:
        """SIGINT or SIGTERM asks the running server to stop."""

    def tick(self) -> bool:
        """Runs every 0.1 s. True stops the server."""
        raise NotImplementedError

    async def drain(self, sockets: list[socket.socket]) -> None:
        """Stops accepting connections and waits for those that are open. `sockets` came from the supervisor."""

    @property
    def app_state(self) -> dict[str, Any]:
        """State of the application's lifespan. Each request receives a copy."""
        return cast("dict[str, Any]", self.lifespan.state)

    @property
    def connections(self) -> list[Any]:
        """The open connections, instances of the protocol class."""
        return list(self.server_state.connections)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The requests in progress."""
        return set(self.server_state.tasks)

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Private: the server's whole life. Afterwards uvicorn raises the signal again that stopped it."""
        try:
            await super()._serve(sockets)
        finally:
            flush()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Private: starts the application, then listens. The key DRAINING shows it that app.http runs it."""
        self.app_state[DRAINING] = False
        await super().startup(sockets)
        if self.started:
            await self.on_started([listening for server in self.servers for listening in server.sockets])
            for server in self.servers:
                server.close()

    async def on_tick(self, counter: int) -> bool:
        """Private: uvicorn calls it every 0.1 s, and ends when it returns True."""
        stop = self.tick()
        return await super().on_tick(counter) or stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Private: the handler of SIGINT and SIGTERM. The second signal stops the server at once.

        To a worker, SIGTERM is never the second: whoever signals the whole process group reaches it too, and then its
        supervisor sends SIGTERM. For the second signal the supervisor sends SIGINT.
        """
        repeated = bool(self._captured_signals) and not (self.supervised and sig == signal.SIGTERM)
        self._captured_signals.append(sig)
        if repeated:
            self.force_exit = self.should_exit = True
        elif not self.started:
            self.should_exit = True
        else:
            self.on_stop_signal(sig)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Private: closes the listening sockets, waits for the connections, then ends the application."""
        for server in self.servers:
            server.close()
        await self.drain(sockets or [])
        if not self.force_exit:
            await self.lifespan.shutdown()
