"""A server under test: starting it, what it and everything it started cost, and ending all of it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bodies import Body

START_LIMIT = 120.0
STOP_LIMIT = 15.0
MARK = "FASHION_GOOGLENET_BENCHMARK"
"""In the environment of everything a server starts, so that no daemon of Ray's is missed."""

TICKS = os.sysconf("SC_CLK_TCK")


class ServerError(Exception):
    """The server did not start, or did not answer as it should; the message says how."""


@dataclass
class Server:
    """A running server: where it listens, and its process."""

    port: int
    mark: str
    process: "subprocess.Popen[bytes]"
    log: Path
    start_seconds: float = 0.0
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, path: str, body: Body) -> Any:
        """The answer's JSON. Raises OSError or http.client.HTTPException, ServerError if the status is not 200."""
        self.connection.request("POST", path, body.data, {"Content-Type": body.content_type})
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise ServerError(f"status {response.status}: {content[:200]!r}")
        answer = json.loads(content)
        return answer[0] if isinstance(answer, list) else answer

    def pids(self) -> list[int]:
        """Of everything that was started with the server's mark."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _carries(path, self.mark)]

    def cpu_seconds(self) -> float:
        """Used so far by the server and its children, in user and system mode."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / TICKS

    def peak_bytes(self) -> int:
        """The sum of each process's largest resident set; pages that processes share count in each."""
        return sum(_peak_kib(pid) for pid in self.pids()) << 10


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], path: str, first: Body, log: Path) -> Iterator[Server]:
    """Starts the server, waits for its first answer to `first`, and ends all of it. Raises ServerError.

    `{port}` in the command and in the environment's values becomes a free port.
    """
    port = free_port()
    mark = f"{os.getpid()}-{port}"
    # Compiled modules may be written: without them a start would measure the compiler.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    added = {name: value.format(port=port) for name, value in environment.items()}
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [part.format(port=port) for part in command],
            env=inherited | added | {MARK: mark},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(port, mark, process, log)
    try:
        _wait(server, path, first)
        server.start_seconds = time.perf_counter() - started
        yield server
    finally:
        _end(server)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Server, path: str, first: Body) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            server.ask(path, first)
            return
        except (OSError, http.client.HTTPException, ServerError):
            server.connection.close()
            time.sleep(0.02)
    tail = "\n".join(server.log.read_text(errors="replace").splitlines()[-5:])
    raise ServerError(f"did not start within {START_LIMIT:.0f} s:\n{tail}")


def _end(server: Server) -> None:
    """Asks the server to stop, and kills what has not after a while."""
    server.connection.close()
    if server.process.poll() is None:
        server.process.terminate()
    deadline = time.monotonic() + STOP_LIMIT
    while time.monotonic() < deadline and (server.process.poll() is None or server.pids()):
        time.sleep(0.1)
    for pid in server.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait()


def _carries(process: Path, mark: str) -> bool:
    try:
        return f"{MARK}={mark}\0".encode() in (process / "environ").read_bytes()
    except OSError:  # gone, or somebody else's
        return False


def _cpu_ticks(pid: int) -> int:
    """Its own and those of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(value) for value in fields[11:15])


def _peak_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
