"""Measures the CPU time of one POST /predict by stage, without the neural network; the body is a form with a 28×28 PNG.

python -m benchmarks.request_stages [--clients 64] [--seconds 4] [--rounds 3]

Two servers with an engine that answers at once take turns. One is unchanged. The other measures its stages
(benchmarks.harness.stage_timer); its stages and the rest add up to all its CPU time without the cost of
measuring.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness.bodies import pictures
from benchmarks.harness.load import closed_loop, require_success
from benchmarks.harness.machine import describe
from benchmarks.harness.processes import Server, ServerError, run_server
from benchmarks.harness.stage_timer import FILE_VARIABLE, MEASURING

COMMAND = (sys.executable, "-m", "app")
WARM_UP = (8, 1)
"""Clients and seconds of the load before the measurement."""

REST = "event loop, switching between threads"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=4, help="of a run")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    unchanged, by_stage = [], []
    for _ in range(arguments.rounds):
        unchanged.append(_measure_unchanged(arguments.clients, arguments.seconds))
        by_stage.append(_measure_by_stage(arguments.clients, arguments.seconds))
    print(describe()["processor"])
    print(table(unchanged, by_stage))
    return 0


def table(unchanged: list[dict[str, float]], by_stage: list[dict[str, float]]) -> str:
    """Medians of the rounds: microseconds of CPU time per request, and thread switches per request."""
    stages = {name: statistics.median(run[name] for run in by_stage) for name in by_stage[0]}
    whole = statistics.median(run["cpu"] for run in unchanged)
    lines = [f"{name:40} {micros:7.0f} µs" for name, micros in stages.items()]
    total = sum(stages.values())
    lines.append(f"{'together':40} {total:7.0f} µs, {total / whole:.0%} of what the server as it is uses:")
    lines.append(f"{'the server as it is':40} {whole:7.0f} µs")
    rows = {"of it in user mode": "µs", "of it in system mode": "µs", "waits": "times", "switched away": "times"}
    lines += [
        f"{name:40} {statistics.median(run[name] for run in unchanged):7.2f} {unit}" for name, unit in rows.items()
    ]
    return "\n".join(lines)


def _measure_unchanged(clients: int, seconds: int) -> dict[str, float]:
    """CPU time of the unchanged server, and how often its threads waited or were preempted."""
    with (
        TemporaryDirectory() as folder,
        _server("benchmarks.harness.instant_engine:InstantEngine", Path(folder)) as server,
    ):
        closed_loop(server, "/predict", "multipart", *WARM_UP)
        before = _thread_usage(server.process.pid)
        cell = require_success(closed_loop(server, "/predict", "multipart", clients, seconds))
        after = _thread_usage(server.process.pid)
    per_request = {name: (after[name] - before[name]) / cell.requests for name in after}
    return {"cpu": per_request["of it in user mode"] + per_request["of it in system mode"], **per_request}


def _measure_by_stage(clients: int, seconds: int) -> dict[str, float]:
    """CPU time by stage, and the rest."""
    with (
        TemporaryDirectory() as folder,
        _server("benchmarks.harness.stage_timer:StageTimer", Path(folder)) as server,
    ):
        closed_loop(server, "/predict", "multipart", *WARM_UP)
        before = _read_sums(server, Path(folder))
        cell = require_success(closed_loop(server, "/predict", "multipart", clients, seconds))
        after = _read_sums(server, Path(folder))
    stages = {name: after["stages"][name] - before["stages"][name] for name in after["stages"]}
    stages[REST] = after["cpu"] - before["cpu"] - sum(stages.values())
    return {name: 1e6 * taken / cell.requests for name, taken in stages.items() if name != MEASURING}


def _server(engine: str, folder: Path) -> Any:
    environment = {"GOOGLENET_PORT": "{port}", "GOOGLENET_ENGINE": engine, FILE_VARIABLE: str(folder / "stages")}
    return run_server(COMMAND, environment, "/predict", next(pictures("multipart")), folder / "log")


def _read_sums(server: Server, folder: Path) -> dict[str, Any]:
    """Asks the server for its sums so far, and reads them. Raises ServerError."""
    file = folder / "stages"
    lines_before = file.read_text().count("\n") if file.exists() else 0
    os.kill(server.process.pid, signal.SIGUSR2)
    for _ in range(500):
        if file.exists() and len(lines := file.read_text().splitlines()) > lines_before:
            sums: dict[str, Any] = json.loads(lines[-1])
            return sums
        time.sleep(0.01)
    raise ServerError("the server does not write its stages")


def _thread_usage(pid: int) -> dict[str, float]:
    """Of all threads: microseconds in user and in system mode, voluntary and involuntary context switches."""
    sums = dict.fromkeys(("of it in user mode", "of it in system mode", "waits", "switched away"), 0.0)
    for thread in Path(f"/proc/{pid}/task").iterdir():
        ticks = (thread / "stat").read_text().rpartition(")")[2].split()[11:13]
        switches = [
            int(line.split()[1]) for line in (thread / "status").read_text().splitlines() if "ctxt_switches" in line
        ]
        own = [1e6 * int(count) / os.sysconf("SC_CLK_TCK") for count in ticks]
        sums = {name: so_far + value for (name, so_far), value in zip(sums.items(), own + switches, strict=True)}
    return sums


if __name__ == "__main__":
    sys.exit(main())
