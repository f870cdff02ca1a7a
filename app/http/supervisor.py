"""Several workers behind one port: keeps them alive, and passes on what the operator wants."""

import contextlib
import logging
import os
import signal
import time
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET, socket

from uvicorn.supervisors.multiprocess import Multiprocess, Process

from app.http.server import Config, Server
from app.http.sighup import hold, release

log = logging.getLogger(__name__)

TICK = 0.1
"""Seconds between two looks at the workers."""

SLOWEST_RESTART = 30.0
"""Seconds: the pause before a worker that keeps failing is started again doubles up to here."""

STEADY = 10.0
"""Seconds a worker has to have lived for its end not to count as a failing start."""


SILENCE = 10.0
"""Seconds, of those in which the supervisor itself ran, without a sign of life after which a worker is killed."""

MARGIN = 5.0
"""Seconds beyond the drain limit, and after a second signal, in which a worker may still end by itself."""


class Worker(Process):
    """A process that runs our Server, whose event loop shows the supervisor that it goes round."""

    started = 0.0
    ready = False
    """Whether it has served."""
    silent = 0.0
    """Seconds since it last showed life, once it is ready."""
    again_at: float | None = None
    """When another takes its place; time.monotonic()."""

    @property
    def server(self) -> Server:
        if self._server is None:
            self._server = Server(self.config)  # type: ignore[arg-type]
        return self._server  # type: ignore[return-value]

    def start(self) -> None:
        self.started = time.monotonic()
        hold()  # the process begins with it, and a SIGHUP waits until it has something to load anew
        super().start()
        release()

    def target(self, sockets: list[socket] | None = None) -> None:
        """In the process itself, its whole life."""
        os.set_blocking(self.child_conn.fileno(), False)
        self.server.show_life = self._show_life
        self.server.run(sockets)

    def _show_life(self) -> None:
        with contextlib.suppress(OSError):  # the supervisor does not listen: app.http.server notices when it is gone
            self.child_conn.send_bytes(b".")

    def listen(self, seconds: float) -> None:
        """Called by the supervisor, `seconds` after it last did."""
        self.silent += seconds if self.ready else 0.0
        while self.parent_conn.poll():
            self.parent_conn.recv_bytes()
            self.ready, self.silent = True, 0.0

    def kill(self) -> None:
        self.process.kill()

    def signal(self, number: int) -> None:
        """To a worker that may have ended."""
        if self.process.exitcode is None and self.process.pid is not None:
            os.kill(self.process.pid, number)

    @property
    def ended(self) -> bool:
        return self.process.exitcode is not None


class Supervisor(Multiprocess):
    """A worker that ends is started again, with growing pauses if it keeps ending, whatever the others do.

    Only if the first start already fails is the service given up: then it is the settings.
    """

    config: Config
    processes: list[Worker]  # type: ignore[assignment]

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        super().__init__(config, sockets)
        self._pause = 0.0
        self._served = False
        self._looked = time.monotonic()
        self._kill_at: float | None = None
        """When a worker that has not ended by then is killed; time.monotonic()."""

    @property
    def status(self) -> int:
        """What the process exits with."""
        return 0 if self._served else 1

    def run(self) -> None:
        for _ in range(self.processes_num):
            self._add(Worker(self.config, self.sockets))
        while not self.should_exit.wait(TICK):
            self.handle_signals()
            self.keep_subprocess_alive()
        for worker in self.processes:
            worker.signal(signal.SIGTERM)
        self._kill_at = time.monotonic() + self.config.drain_limit + MARGIN
        for port in self.sockets:  # the workers have their own: when they close theirs, it is closed
            port.close()
        while not all(worker.ended for worker in self.processes):
            time.sleep(TICK)
            self.handle_signals()
            if time.monotonic() >= self._kill_at:
                self._kill_all()

    def _kill_all(self) -> None:
        for worker in self.processes:
            if not worker.ended:
                log.error("worker %s does not end, and is killed", worker.pid)
                worker.kill()

    def _listen(self) -> None:
        """Kills who has been silent for too long. Time in which the supervisor did not run either proves nothing."""
        now = time.monotonic()
        seconds, self._looked = min(now - self._looked, 10 * TICK), now
        for worker in self.processes:
            worker.listen(seconds)
            if worker.silent > SILENCE and not worker.ended:
                log.error("worker %s has shown no life for %g s, and is killed", worker.pid, SILENCE)
                worker.kill()

    def keep_subprocess_alive(self) -> None:
        """Replaces who has ended, and who hangs."""
        self._listen()
        if not self._served and any(worker.ready for worker in self.processes):
            self._served = True
            host, port = self.sockets[0].getsockname()[:2]
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            log.info("%d workers running on http://%s", self.processes_num, where)
        for worker in [worker for worker in self.processes if worker.ended]:
            if not self._served:
                log.error("a worker did not start, giving up")
                self.should_exit.set()
                return
            now = time.monotonic()
            if worker.again_at is None:
                steady = now - worker.started > STEADY
                self._pause = 0.0 if steady else min(SLOWEST_RESTART, max(1.0, 2 * self._pause))
                worker.again_at = now + self._pause
                log.warning("worker %s has ended (%s)", worker.pid, worker.exitcode)
            if now >= worker.again_at:
                self.processes.remove(worker)
                self._add(Worker(self.config, self.sockets))

    def _add(self, worker: Worker) -> None:
        worker.start()
        self.processes.append(worker)

    def handle_int(self) -> None:
        self._end(signal.SIGINT)

    def handle_term(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        """The first time everything is finished, the second time not."""
        if self.should_exit.is_set():
            for worker in self.processes:
                worker.signal(number)
            self._kill_at = min(self._kill_at, time.monotonic() + MARGIN) if self._kill_at else None
        self.should_exit.set()

    def handle_hup(self) -> None:
        """Each loads the checkpoint anew, in place."""
        for worker in self.processes:
            worker.signal(signal.SIGHUP)

    def handle_ttin(self) -> None:
        """The number of workers is a setting."""

    handle_ttou = handle_ttin


def bind(host: str, number: int) -> socket:
    """The workers' port, on which nobody listens until one of them is ready. Raises OSError."""
    port = socket(AF_INET6 if ":" in host else AF_INET)
    try:
        port.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        port.bind((host, number))
    except OSError:
        port.close()
        raise
    return port
