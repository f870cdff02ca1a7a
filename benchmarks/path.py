"""What a request costs beside the network, by stage: CPU time of one POST /predict with a 28×28 PNG in a form.

python -m benchmarks.path [--clients 64] [--seconds 4] [--rounds 3]

Two servers whose engine answers at once take turns: one as it is, one that measures itself (benchmarks.stages). The
stages and the rest add up to all that the second one uses, less what measuring costs.
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

from benchmarks.bodies import pictures
from benchmarks.load import all_answered, closed_loop
from benchmarks.machine import describe
from benchmarks.processes import Server, ServerError, running
from benchmarks.stages import FILE, MEASURING

COMMAND = (sys.executable, "-m", "app")
WARM_UP = (8, 1)
"""Clients and seconds."""

REST = "event loop, switching between threads"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=4, help="of a run")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    plain, measured = [], []
    for _ in range(arguments.rounds):
        plain.append(_plain(arguments.clients, arguments.seconds))
        measured.append(_measured(arguments.clients, arguments.seconds))
    print(describe()["processor"])
    print(table(plain, measured))
    return 0


def table(plain: list[dict[str, float]], measured: list[dict[str, float]]) -> str:
    """Medians over the rounds, microseconds a request; switches in times a request."""
    stages = {name: statistics.median(run[name] for run in measured) for name in measured[0]}
    whole = statistics.median(run["cpu"] for run in plain)
    lines = [f"{name:40} {micros:7.0f} µs" for name, micros in stages.items()]
    total = sum(stages.values())
    lines.append(f"{'together':40} {total:7.0f} µs, {total / whole:.0%} of what the server as it is uses:")
    lines.append(f"{'the server as it is':40} {whole:7.0f} µs")
    rows = {"of it in user mode": "µs", "of it in system mode": "µs", "waits": "times", "switched away": "times"}
    lines += [f"{name:40} {statistics.median(run[name] for run in plain):7.2f} {unit}" for name, unit in rows.items()]
    return "\n".join(lines)


def _plain(clients: int, seconds: int) -> dict[str, float]:
    """CPU time of the server as it is, and how often its threads waited or were switched away from."""
    with TemporaryDirectory() as folder, _server("benchmarks.stub:AtOnce", Path(folder)) as server:
        closed_loop(server, "/predict", "multipart", *WARM_UP)
        before = _threads(server.process.pid)
        cell = all_answered(closed_loop(server, "/predict", "multipart", clients, seconds))
        after = _threads(server.process.pid)
    each = {name: (after[name] - before[name]) / cell.requests for name in after}
    return {"cpu": each["of it in user mode"] + each["of it in system mode"], **each}


def _measured(clients: int, seconds: int) -> dict[str, float]:
    """CPU time by stage, and the rest of it."""
    with TemporaryDirectory() as folder, _server("benchmarks.stages:Measured", Path(folder)) as server:
        closed_loop(server, "/predict", "multipart", *WARM_UP)
        before = _sums(server, Path(folder))
        cell = all_answered(closed_loop(server, "/predict", "multipart", clients, seconds))
        after = _sums(server, Path(folder))
    stages = {name: after["stages"][name] - before["stages"][name] for name in after["stages"]}
    stages[REST] = after["cpu"] - before["cpu"] - sum(stages.values())
    return {name: 1e6 * taken / cell.requests for name, taken in stages.items() if name != MEASURING}


def _server(engine: str, folder: Path) -> Any:
    environment = {"GOOGLENET_PORT": "{port}", "GOOGLENET_ENGINE": engine, FILE: str(folder / "stages")}
    return running(COMMAND, environment, "/predict", next(pictures("multipart")), folder / "log")


def _sums(server: Server, folder: Path) -> dict[str, Any]:
    """What the server says when it is asked. Raises ServerError."""
    file = folder / "stages"
    told = file.read_text().count("\n") if file.exists() else 0
    os.kill(server.process.pid, signal.SIGUSR2)
    for _ in range(500):
        if file.exists() and len(lines := file.read_text().splitlines()) > told:
            sums: dict[str, Any] = json.loads(lines[-1])
            return sums
        time.sleep(0.01)
    raise ServerError("the server does not tell its stages")


def _threads(pid: int) -> dict[str, float]:
    """Microseconds in user and in system mode; waits, and times that another was given the core; of all threads."""
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
