"""uvicorn, made to stop as a load balancer needs it and as its clients deserve it: nothing that was accepted is lost.

SIGTERM: readiness fails, everything is still served for DRAIN_DELAY while the balancer takes notice, and every answer
ends its connection. Then no connection is accepted any more; those that exist get their answers, by DRAIN_LIMIT at the
latest. SIGINT is the same without the delay. A second signal ends the process at once. SIGHUP loads the checkpoint
anew, once there is one. A worker whose engine is stuck ends itself, for its supervisor starts another.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import uvicorn

from app.http.listener import Listener
from app.http.protocol import Protocol, State
from app.http.sighup import release
from app.logs import capture_warnings, flush
from app.settings import Settings

log = logging.getLogger(__name__)

TICK = 0.02
"""Seconds between two looks at what is left to be answered."""

LINGER = 1.0
"""Seconds in which a connection without a request may still send one, once no more are accepted."""

LAST_WORDS = 1.0
"""Seconds of the drain limit that are kept for ending what has not ended."""


class Config(uvicorn.Config):
    """uvicorn's, made from ours; travels to the workers."""

    def __init__(self, app: Any, settings: Settings, log_config: dict[str, Any]) -> None:
        super().__init__(
            app,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            http=Protocol,
            ws="none",
            log_config=log_config,
            access_log=False,  # app.middleware.request_monitor writes it
            server_header=False,
        )
        self.timeout_keep_alive = settings.keep_alive  # type: ignore[assignment]  # uvicorn's command line has whole ones
        self.header_timeout = settings.header_timeout
        self.drain_delay, self.drain_limit = settings.drain_delay, settings.drain_limit
        self.stuck_limit = settings.stuck_limit

    def configure_logging(self) -> None:
        """In this process, and in each of the workers."""
        super().configure_logging()
        capture_warnings()


class Server(uvicorn.Server):
    """One process. `config` is a Config of this module."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.server_state: State = State()
        self._stop_at: float | None = None
        """When no more is accepted, and …"""
        self._limit_at: float | None = None
        """… when no more is waited for; time.monotonic()."""
        self._stuck = False
        self._ports: list[Listener] = []
        self.show_life: Callable[[], None] = lambda: None
        """Called all the time, while the event loop goes round."""

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super()._serve(sockets)
        finally:  # the signal that ended it is raised anew, and no line survives that
            flush()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and hasattr(signal, "SIGHUP"):  # Windows has other event loops
            listening = [socket for server in self.servers for socket in server.sockets]
            self._ports = [
                Listener(socket.fileno(), self._protocol, shared=sockets is not None) for socket in listening
            ]
            for server in self.servers:
                server.close()
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
            release()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT then SIGTERM is one wish, not two: a terminal interrupts workers which their supervisor ends then."""
        again = sig in self._captured_signals or (sig == signal.SIGINT and bool(self._captured_signals))
        self._captured_signals.append(sig)
        if again:
            self.force_exit = self.should_exit = True
        elif not self.started:
            self.should_exit = True
        else:
            self._drain(self.config.drain_delay if sig == signal.SIGTERM else 0)

    def _drain(self, delay: float) -> None:
        if self._stop_at is None:
            now = time.monotonic()
            self._stop_at = now + min(delay, self.config.drain_limit)
            self._limit_at = now + max(0, self.config.drain_limit - LAST_WORDS)
            self.server_state.draining = True
            self.lifespan.state["draining"] = True  # requests are handed a copy; app.api.service looks at it

    async def on_tick(self, counter: int) -> bool:
        """Every 0.1 s."""
        supervisor = multiprocessing.parent_process()
        if supervisor is not None and os.getppid() != supervisor.pid:
            self._drain(0)
        if supervisor is not None and not self.server_state.draining and self._engine_is_stuck():
            log.error("the engine has been stuck for more than %g s: this worker ends", self.config.stuck_limit)
            self._stuck = True
            self._drain(0)
        self.show_life()
        if self.server_state.draining:
            for connection in self._connections():
                connection.announce_end()
        stop = self._stop_at is not None and time.monotonic() >= self._stop_at
        return await super().on_tick(counter) or stop

    def _engine_is_stuck(self) -> bool:
        """As app.api.service has it."""
        service = self.lifespan.state.get("service")
        return service is not None and service.stuck

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts no more, waits for what was accepted, ends the application."""
        log.info("Shutting down")
        self._drain(0)
        await self._stop_accepting(sockets or [])
        await self._finish()
        if not self.force_exit:
            await self.lifespan.shutdown()

    async def _stop_accepting(self, sockets: list[socket.socket]) -> None:
        """A worker that is stuck leaves those who wait to the others: its supervisor still has the port."""
        for server in self.servers:
            server.close()
        for listening in sockets:
            listening.close()
        for port in self._ports:
            await port.close(leave=self._stuck)

    def _protocol(self) -> Protocol:
        return Protocol(self.config, self.server_state, self.lifespan.state)

    async def _finish(self) -> None:
        """Until every connection has ended, the limit is reached, or somebody wants it quick."""
        now = time.monotonic()
        linger_until, limit = now + LINGER, self._limit_at or now
        while self.server_state.connections or self.server_state.tasks:
            now = time.monotonic()
            if self.force_exit or now >= limit:
                await self._give_up()
                return
            self.show_life()
            for connection in self._connections():
                connection.announce_end()
                if connection.idle and now >= linger_until:
                    connection.transport.close()
            await asyncio.sleep(TICK)

    async def _give_up(self) -> None:
        """Who still waits is told to try elsewhere (app.middleware.request_monitor answers a cancelled request)."""
        tasks = set(self.server_state.tasks)
        log.error("stopped with %d requests unfinished", len(tasks))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS / 2)
        for connection in self._connections():
            connection.transport.close()

    def _connections(self) -> list[Protocol]:
        return cast("list[Protocol]", list(self.server_state.connections))

    def _reload(self) -> None:
        reload = self.lifespan.state.get("reload")
        if reload:
            reload()
