"""Several worker processes behind one port: starts them, replaces those that end or hang, and passes signals on."""

import contextlib
import logging
import math
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET, socket

from app.http.server import Server
from app.logs import configure
from app.settings import Settings

log = logging.getLogger(__name__)

SPAWN = multiprocessing.get_context("spawn")

POLL_INTERVAL = 0.1
"""Seconds between two checks of the workers."""

MAX_RESTART_DELAY = 30.0
"""Seconds. The delay before a failing worker is started again doubles up to this."""

STABLE_AFTER = 10.0
"""Seconds after which a worker's end does not count as a failed start."""

HEARTBEAT_TIMEOUT = 10.0
"""Seconds without a heartbeat after which a worker is killed. Time in which the supervisor did not run is excluded."""

KILL_DELAY = 5.0
"""Seconds after the drain limit, or after a second signal, at which workers are killed that have not ended."""

IGNORED = (signal.SIGQUIT, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2)
"""Signals whose default action would end or stop the supervisor."""


class Worker:
    """A process that runs Server, whose event loop sends heartbeats to the supervisor through a pipe."""

    def __init__(self, settings: Settings, port: socket, all_stop: Connection) -> None:
        """Raises OSError if the process cannot be started."""
        self._heartbeats, sender = multiprocessing.Pipe(duplex=False)
        self._sender = sender  # open until the process has inherited it
        self.process = SPAWN.Process(target=_run_worker, args=(settings, port, sender, all_stop))
        self.started_at = time.monotonic()
        self.ready = False
        """Whether its server has started."""
        self.seconds_silent = 0.0
        """Time since the last heartbeat, once it is ready."""
        self.restart_at: float | None = None
        """time.monotonic() at which a new worker replaces this one, which has ended."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # inherited: pending until the worker can reload
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def read_heartbeats(self, seconds: float) -> None:
        """Called by the supervisor, `seconds` after the last call."""
        self.seconds_silent += seconds if self.ready else 0.0
        while self._heartbeats.poll():
            self._heartbeats.recv_bytes()
            self.ready, self.seconds_silent = True, 0.0

    def signal(self, number: int) -> None:
        """Does nothing if the process has ended."""
        if self.process.exitcode is None and self.process.pid is not None:
            os.kill(self.process.pid, number)


def _run_worker(settings: Settings, port: socket, heartbeats: Connection, all_stop: Connection) -> None:
    """The worker process. The other end of `all_stop` is closed when all workers stop, or the supervisor has died."""
    configure(settings.log_format)
    os.set_blocking(heartbeats.fileno(), False)

    def send_heartbeat() -> None:
        with contextlib.suppress(OSError):  # the supervisor is busy, or has died, which Server.tick notices
            heartbeats.send_bytes(b".")

    with contextlib.suppress(KeyboardInterrupt):  # how a server ends after SIGINT
        Server("app.main:app", settings, send_heartbeat=send_heartbeat, all_stop=all_stop.poll).run([port])


class Supervisor:
    """Keeps the workers running. A worker that ends is started again, with growing delays if it keeps ending.

    If a worker ends before any of them has started, the settings are wrong and the service ends.
    """

    def __init__(self, settings: Settings, port: socket) -> None:
        self._settings, self._port = settings, port
        self._workers: list[Worker] = []
        self._all_stop, self._not_all_stop = multiprocessing.Pipe(duplex=False)
        """The workers see it when the second is closed."""
        self._stopping = False
        self._restart_delay = 0.0
        self._checked_at = time.monotonic()
        self._kill_at = math.inf
        """time.monotonic() at which workers are killed that have not ended."""
        self._served = False
        self._signals: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *IGNORED):
            signal.signal(number, lambda number, _: self._signals.append(number))

    def run(self) -> int:
        """Returns when all workers have ended: 0, or 1 if none ever started."""
        started = [self._start_worker() for _ in range(self._settings.workers)]
        self._workers = [worker for worker in started if worker]
        if len(self._workers) < len(started):
            self._stop()
        while not self._stopping:
            self._check_heartbeats()
            self._replace_ended()
            time.sleep(POLL_INTERVAL)
            self._handle_signals()
        self._port.close()  # each worker has a copy; the port closes with the last
        while any(worker.process.exitcode is None for worker in self._workers):
            time.sleep(POLL_INTERVAL)
            self._handle_signals()
            if time.monotonic() >= self._kill_at:
                self._kill_remaining()
        return 0 if self._served else 1

    def _handle_signals(self) -> None:
        while self._signals:
            number = self._signals.pop(0)
            if number in (signal.SIGINT, signal.SIGTERM):
                self._stop()
            elif number == signal.SIGHUP:
                for worker in self._workers:
                    worker.signal(number)

    def _stop(self) -> None:
        """Drains the workers. The second call ends them at once."""
        number, limit = (signal.SIGINT, 0.0) if self._stopping else (signal.SIGTERM, self._settings.drain_limit)
        self._stopping, self._kill_at = True, min(self._kill_at, time.monotonic() + limit + KILL_DELAY)
        self._not_all_stop.close()
        for worker in self._workers:
            worker.signal(number)

    def _check_heartbeats(self) -> None:
        """Kills workers that have been silent for too long."""
        now = time.monotonic()
        seconds, self._checked_at = min(now - self._checked_at, 10 * POLL_INTERVAL), now
        for worker in self._workers:
            worker.read_heartbeats(seconds)
            if worker.seconds_silent > HEARTBEAT_TIMEOUT and worker.process.exitcode is None:
                log.error("worker %s has shown no life for %g s, and is killed", worker.process.pid, HEARTBEAT_TIMEOUT)
                worker.process.kill()
        if not self._served and any(worker.ready for worker in self._workers):
            self._served = True
            host, number = self._port.getsockname()[:2]
            address = f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
            log.info("%d workers running on http://%s", self._settings.workers, address)

    def _replace_ended(self) -> None:
        now = time.monotonic()
        for i, worker in enumerate(self._workers):
            if worker.process.exitcode is None:
                continue
            if not self._served:
                log.error("a worker did not start, giving up")
                self._stop()
                return
            if worker.restart_at is None:
                log.warning("worker %s has ended (%s)", worker.process.pid, worker.process.exitcode)
                self._restart_later(worker, failed=now - worker.started_at <= STABLE_AFTER)
            elif now >= worker.restart_at:
                replacement = self._start_worker()
                if replacement:
                    self._workers[i] = replacement
                else:
                    self._restart_later(worker, failed=True)

    def _restart_later(self, worker: Worker, *, failed: bool) -> None:
        """Sets when another replaces the worker: after a growing delay if it, or the other, has failed to start."""
        self._restart_delay = min(MAX_RESTART_DELAY, max(1.0, 2 * self._restart_delay)) if failed else 0.0
        worker.restart_at = time.monotonic() + self._restart_delay

    def _start_worker(self) -> Worker | None:
        """None if the system has no room for another process."""
        try:
            return Worker(self._settings, self._port, self._all_stop)
        except OSError as error:
            log.error("no worker can be started: %s", error)
            return None

    def _kill_remaining(self) -> None:
        for worker in self._workers:
            if worker.process.exitcode is None:
                log.error("worker %s does not end, and is killed", worker.process.pid)
                worker.process.kill()


def bind(host: str, port: int) -> socket:
    """The workers' socket. A worker listens on it as soon as it is ready. Raises OSError."""
    bound = socket(AF_INET6 if ":" in host else AF_INET)
    try:
        bound.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
