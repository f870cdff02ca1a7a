"""Starts and ends a server under test, and measures the CPU time and memory of it and of all its child processes."""

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

from benchmarks.harness.bodies import Body

START_LIMIT = 120.0
STOP_LIMIT = 15.0
MARKER_VARIABLE = "FASHION_GOOGLENET_BENCHMARK"
"""Environment variable by which every process of a server is found, Ray's daemons included."""

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ServerError(Exception):
    """The server did not start, or gave a wrong answer; the message says which."""


@dataclass
class Server:
    """A running server."""

    port: int
    marker: str
    """Value of MARKER_VARIABLE."""
    process: "subprocess.Popen[bytes]"
    log: Path
    start_seconds: float = 0.0
    connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def post(self, path: str, body: Body) -> Any:
        """Posts a body and returns the JSON answer. Raises OSError, HTTPException; ServerError for a status but 200."""
        self.connection.request("POST", path, body.data, {"Content-Type": body.content_type})
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise ServerError(f"status {response.status}: {content[:200]!r}")
        answer = json.loads(content)
        return answer[0] if isinstance(answer, list) else answer

    def pids(self) -> list[int]:
        """All processes with the server's marker."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _has_marker(path, self.marker)]

    def cpu_seconds(self) -> float:
        """CPU time so far of the server and its children, in user and system mode."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / TICKS_PER_SECOND

    def peak_bytes(self) -> int:
        """Sum of each process's largest resident set. Pages that processes share count in each."""
        return sum(_peak_kib(pid) for pid in self.pids()) << 10


@contextmanager
def run_server(
    command: Sequence[str], environment: dict[str, str], path: str, first: Body, log: Path
) -> Iterator[Server]:
    """Starts a server, waits for its answer to `first`, and at the end stops all its processes. Raises ServerError.

    `{port}` in the command and in the environment's values is replaced by a free port.
    """
    port = free_port()
    marker = f"{os.getpid()}-{port}"
    # The server may write compiled modules: otherwise each start would compile them again.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    added = {name: value.format(port=port) for name, value in environment.items()}
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [part.format(port=port) for part in command],
            env=inherited | added | {MARKER_VARIABLE: marker},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(port, marker, process, log)
    try:
        _wait_for_answer(server, path, first)
        server.start_seconds = time.perf_counter() - started
        yield server
    finally:
        _stop(server)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for_answer(server: Server, path: str, first: Body) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            server.post(path, first)
            return
        except (OSError, http.client.HTTPException, ServerError):
            server.connection.close()
            time.sleep(0.02)
    tail = "\n".join(server.log.read_text(errors="replace").splitlines()[-5:])
    raise ServerError(f"did not start within {START_LIMIT:.0f} s:\n{tail}")


def _stop(server: Server) -> None:
    """Sends SIGTERM, and kills the processes that are left after STOP_LIMIT seconds."""
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


def _has_marker(process: Path, marker: str) -> bool:
    try:
        return f"{MARKER_VARIABLE}={marker}\0".encode() in (process / "environ").read_bytes()
    except OSError:  # the process has ended or is another user's
        return False


def _cpu_ticks(pid: int) -> int:
    """CPU ticks of the process and of its ended children."""
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
