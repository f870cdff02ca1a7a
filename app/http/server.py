"""One server process, which drains on SIGTERM: no accepted request is lost.

SIGTERM: readiness fails. For DRAIN_DELAY everything is still served while the load balancer takes notice, and each
response closes its connection. Then no connection is accepted any more, and those that are open get their responses,
by DRAIN_LIMIT at the latest. SIGINT does the same without the delay. A second signal ends the process at once. SIGHUP
reloads the checkpoint. A worker whose engine is stuck ends, and its supervisor starts another. A worker that ends alone
leaves the connections that it has not accepted to the others.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from app.asgi import DRAINING
from app.http.listener import Listener
from app.http.protocol import Protocol
from app.http.uvicorn_internals import BaseServer, Config
from app.settings import Settings

log = logging.getLogger(__name__)

POLL_INTERVAL = 0.02
"""Seconds between two checks for open connections while draining."""

IDLE_GRACE = 1.0
"""Seconds for which an idle connection may still send a request after the last connection was accepted."""

SUPERVISOR_DELAY = 0.5
"""Seconds for which a worker still accepts connections at least. If all workers stop, it knows by then."""

CANCEL_TIME = 1.0
"""Seconds of DRAIN_LIMIT that are reserved for cancelling unfinished requests."""


class ServerConfig(Config):
    """uvicorn's configuration, made from the service's settings. `app` is an application or `module:name`."""

    def __init__(self, app: Any, settings: Settings) -> None:
        super().__init__(
            app,
            host=settings.host,
            port=settings.port,
            http=Protocol,
            workers=1,  # app.http.supervisor starts more
            ws="none",
            log_config=None,  # app.logs.configure
            access_log=False,  # app.middleware.request_log writes one
            server_header=False,
        )
        self.timeout_keep_alive = settings.keep_alive  # type: ignore[assignment]  # the constructor takes whole seconds
        self.settings = settings


class Server(BaseServer):
    """One process: the only one, or a worker under app.http.supervisor.

    `all_stop` says whether no other worker goes on accepting connections.
    """

    def __init__(
        self,
        app: Any,
        settings: Settings,
        *,
        send_heartbeat: Callable[[], None] = lambda: None,
        all_stop: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__(ServerConfig(app, settings))
        self._settings, self._send_heartbeat, self._all_stop = settings, send_heartbeat, all_stop
        self._supervisor = multiprocessing.parent_process()
        self.supervised = self._supervisor is not None
        self._listeners: list[Listener] = []
        self._stop_accepting_at: float | None = None
        """time.monotonic(); None while not draining."""
        self._drain_deadline = 0.0
        """time.monotonic() at which unfinished requests are cancelled."""

    async def on_started(self, sockets: list[socket.socket]) -> None:
        self._listeners = [Listener(each.fileno(), self._new_connection, shared=self.supervised) for each in sockets]
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # app.__main__ or app.http.supervisor blocked it

    def on_stop_signal(self, number: int) -> None:
        delay = self._settings.drain_delay if number == signal.SIGTERM else 0
        self._start_draining(max(delay, SUPERVISOR_DELAY) if self.supervised else delay)

    def tick(self) -> bool:
        draining = self._stop_accepting_at is not None
        if self._supervisor is not None:
            if os.getppid() != self._supervisor.pid:  # the supervisor has died
                self._start_draining(0)
            elif not draining and self._is_engine_stuck():
                log.error("the engine has been stuck for more than %g s: this worker ends", self._settings.stuck_limit)
                self._start_draining(0)
        self._send_heartbeat()
        if self._stop_accepting_at is None:
            return False
        for connection in self.connections:
            connection.close_after_response()
        return time.monotonic() >= self._stop_accepting_at

    async def drain(self, sockets: list[socket.socket]) -> None:
        log.info("Shutting down")
        self._start_draining(0)
        for each in sockets:
            each.close()
        all_stop = self._all_stop()
        for listener in self._listeners:
            await listener.close(accept_pending=all_stop)
        await asyncio.gather(self._wait_for_connections(), self._stop_grpc())

    def _start_draining(self, delay: float) -> None:
        if self._stop_accepting_at is None:
            now = time.monotonic()
            self._stop_accepting_at = now + min(delay, self._settings.drain_limit)
            self._drain_deadline = now + max(0, self._settings.drain_limit - CANCEL_TIME)
            self.app_state[DRAINING] = True
            if grpc_server := self.app_state.get("grpc_server"):
                grpc_server.start_draining()

    async def _wait_for_connections(self) -> None:
        """Returns when all connections have closed, at the deadline, or at a second signal."""
        close_idle_at = time.monotonic() + IDLE_GRACE
        while self.connections or self.tasks:
            now = time.monotonic()
            if self.force_exit or now >= self._drain_deadline:
                await self._cancel_requests()
                return
            self._send_heartbeat()
            for connection in self.connections:
                connection.close_after_response()
                if connection.idle and now >= close_idle_at:
                    connection.transport.close()
            await asyncio.sleep(POLL_INTERVAL)

    async def _stop_grpc(self) -> None:
        """Returns when all gRPC calls have ended: at the deadline, or at a second signal, without an answer."""
        grpc_server = self.app_state.get("grpc_server")
        if grpc_server is None:
            return
        stopped = asyncio.ensure_future(grpc_server.stop(max(0, self._drain_deadline - time.monotonic())))
        while not stopped.done() and not self.force_exit:
            self._send_heartbeat()
            await asyncio.wait({stopped}, timeout=POLL_INTERVAL)
        if self.force_exit:
            await grpc_server.stop(0)

    async def _cancel_requests(self) -> None:
        """Their clients receive a 503 from app.middleware.request_monitor."""
        tasks = self.tasks
        log.error("stopped with %d requests unfinished", len(tasks))
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_TIME / 2)
        for connection in self.connections:
            connection.transport.close()

    def _new_connection(self) -> Protocol:
        return Protocol(self.config, self.server_state, self.app_state)

    def _is_engine_stuck(self) -> bool:
        """The same condition as that of /health/live."""
        service = self.app_state.get("service")
        return service is not None and service.stuck

    def _reload(self) -> None:
        reload = self.app_state.get("reload")
        if reload:
            reload()
