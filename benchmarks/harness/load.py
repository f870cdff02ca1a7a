"""Puts a server under load and measures it: in a closed loop with wrk, in an open loop with our own client."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from benchmarks.harness.bodies import pictures
from benchmarks.harness.processes import Server, ServerError

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class ClosedLoopResult:
    """Result of a closed loop, in which each client sends its next request when it has the answer to the last."""

    body: str
    clients: int
    rate: float
    """Answered requests a second."""
    p50: float
    """Milliseconds; so is p99."""
    p99: float
    server_cpu: float
    """Milliseconds of CPU time per request, of the server and its children."""
    client_cpu: float
    """Milliseconds of CPU time per request, of wrk."""
    requests: int
    failed: int
    """Answers other than 2xx, and connections that broke."""


def closed_loop(server: Server, path: str, body: str, clients: int, seconds: int) -> ClosedLoopResult:
    """Runs wrk once, in one thread."""
    with NamedTemporaryFile() as file:
        file.writelines(b"%d\n%b" % (len(request), request) for request in _requests(server, path, body))
        file.flush()
        before = server.cpu_seconds()
        url = f"http://127.0.0.1:{server.port}{path}"
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", str(SCRIPT), url, file.name]
        output, client_cpu = _run(command)
        server_cpu = server.cpu_seconds() - before
    (line,) = (line for line in output.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    done = max(1, result["requests"])
    return ClosedLoopResult(
        body=body,
        clients=clients,
        rate=result["requests"] / result["seconds"],
        p50=result["p50"],
        p99=result["p99"],
        server_cpu=1000 * server_cpu / done,
        client_cpu=1000 * client_cpu / done,
        requests=result["requests"],
        failed=result["failed"] + result["broken"],
    )


def require_success(cell: ClosedLoopResult) -> ClosedLoopResult:
    """Returns the result. Raises ServerError if a request failed: the rate would count refusals as answers."""
    if cell.failed:
        raise ServerError(f"{cell.failed} of {cell.requests} {cell.body} requests of {cell.clients} clients failed")
    return cell


def open_loop(server: Server, path: str, rate: float, seconds: float) -> dict[str, Any]:
    """Runs benchmarks.harness.open_loop once: PNG forms at a fixed mean rate, whether or not answers come."""
    with NamedTemporaryFile() as file:
        file.writelines(b"%d\n%b" % (len(request), request) for request in _requests(server, path, "multipart"))
        file.flush()
        before = server.cpu_seconds()
        arguments = ["--port", str(server.port), "--rate", f"{rate:.1f}", "--seconds", str(seconds), file.name]
        output, _ = _run([sys.executable, "-m", "benchmarks.harness.open_loop", *arguments])
        result: dict[str, Any] = json.loads(output)
    return {**result, "server_cpu": 1000 * (server.cpu_seconds() - before) / max(1, result["sent"])}


def _requests(server: Server, path: str, body: str) -> Iterable[bytes]:
    return (picture.request(server.port, path) for picture in pictures(body))


def _run(command: list[str]) -> tuple[str, float]:
    """Runs a command. Returns its standard output and the CPU seconds it used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
