"""Measures what traces cost: throughput and CPU time of /predict without them, with 1 % and with all requests traced.

python -m benchmarks.tracing [--clients 32] [--seconds 4] [--rounds 3]

The servers run side by side and take turns under load. The collector is a process that reads the spans and drops them;
it runs on the same cores.
"""

import argparse
import contextlib
import multiprocessing
import statistics
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.bodies import pictures
from benchmarks.harness.load import ClosedLoopResult, closed_loop, require_success
from benchmarks.harness.machine import describe
from benchmarks.harness.processes import run_server

SAMPLED: dict[str, dict[str, str] | None] = {
    "no traces": None,
    "1 % of the requests": {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
    "all requests": {},
}
"""Name → environment variables of the sampler; None where no collector is named."""

WARM_UP_SECONDS = 1


class _Discard(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _collect(port: Connection) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Discard) as server:
        port.send(server.server_port)
        server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=4, help="of a run")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    collector = multiprocessing.get_context("spawn").Process(target=_collect, args=(sender,), daemon=True)
    collector.start()
    results = measure(receiver.recv(), arguments.clients, arguments.seconds, arguments.rounds)
    collector.terminate()
    print(describe()["processor"])
    print(table(results))
    return 0


def measure(collector_port: int, clients: int, seconds: int, rounds: int) -> dict[str, list[ClosedLoopResult]]:
    """One result a round, by the name in SAMPLED."""
    results: dict[str, list[ClosedLoopResult]] = {name: [] for name in SAMPLED}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        servers = {}
        for name, sampler in SAMPLED.items():
            environment = {"GOOGLENET_PORT": "{port}"}
            if sampler is not None:
                environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector_port}", **sampler}
            command, first = [sys.executable, "-m", "app"], next(iter(pictures("multipart")))
            servers[name] = stack.enter_context(run_server(command, environment, "/predict", first, folder / name))
            closed_loop(servers[name], "/predict", "multipart", clients, WARM_UP_SECONDS)
        for _ in range(rounds):
            for name, server in servers.items():
                cell = closed_loop(server, "/predict", "multipart", clients, seconds)
                results[name].append(require_success(cell))
    return results


def table(results: dict[str, list[ClosedLoopResult]]) -> str:
    """Median and range of the rounds, and the medians' ratio to those without traces."""
    lines = []
    base_rate, base_cpu = (statistics.median(_column(results["no traces"], name)) for name in ("rate", "server_cpu"))
    for name, cells in results.items():
        rates, cpu = _column(cells, "rate"), _column(cells, "server_cpu")
        rate, milliseconds = statistics.median(rates), statistics.median(cpu)
        lines.append(
            f"{name:20} {rate:6.0f} requests/s ({min(rates):.0f} to {max(rates):.0f}), {rate / base_rate:4.0%}; "
            f"CPU {milliseconds:.3f} ms a request ({min(cpu):.3f} to {max(cpu):.3f}), {milliseconds / base_cpu:4.0%}"
        )
    return "\n".join(lines)


def _column(cells: list[ClosedLoopResult], name: str) -> list[float]:
    return [float(getattr(cell, name)) for cell in cells]


if __name__ == "__main__":
    sys.exit(main())
