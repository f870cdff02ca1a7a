"""Compares this service with its peers: throughput, latency, CPU time, memory and start time, in interleaved rounds.

python -m benchmarks.servers               everything; about twenty minutes on two cores
python -m benchmarks.servers --quick       1 and 64 clients, PNG forms, one round; about five minutes
python -m benchmarks.servers --only lit    this service and one peer: tutorial, lit, bento, rayserve

Before a server is timed, it must give the same answers as this service to a hundred pictures. The results are written
to benchmarks/results/servers.json after every server; python -m benchmarks.report makes a table and a plot of them.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import report
from benchmarks.contestants import PEERS, Contestant, contestants
from benchmarks.harness.bodies import BODIES, pictures
from benchmarks.harness.load import ClosedLoopResult, closed_loop, open_loop
from benchmarks.harness.machine import describe, fastest_feature
from benchmarks.harness.processes import Server, ServerError, run_server

RESULTS = Path(__file__).parent / "results" / "servers.json"
TOLERANCES = {"ours": 0.01, "engine": 0.01, "documented": 0.15}
"""Largest allowed difference of a probability. Plain torch ("documented") lacks the engine's bf16 or int8 rounding."""

IDLE_SECONDS = 10.0
WARM_UP = (8, 1)
"""Clients and seconds of the load before the measurement."""

OPEN_LOOP_LOADS = ((0.8, 4.0), (1.0, 4.0), (2.0, 6.0))
"""Rate of each open loop, as a multiple of the best closed-loop rate, and its seconds."""
LONGEST_CELL = 8
"""Seconds. A closed loop with a slow server runs this long, so that each client gets a few answers."""


class WrongAnswersError(Exception):
    """A server's answers differ from this service's; the comparison ends."""


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # also stops the server under test
    if shutil.which("wrk") is None:
        print("needs wrk: apt-get install wrk", file=sys.stderr)
        return 1
    all_contestants = contestants(arguments.peers_python, arguments.only)
    results: dict[str, Any] = {"machine": describe(), "options": _options(vars(arguments)), "runs": [], "engine": []}
    reference: list[dict[str, float]] = []
    for round_number in range(arguments.rounds):
        results["engine"].append(_engine_alone())
        if round_number == 0:
            print(_headline(results), flush=True)
        for contestant in all_contestants:
            try:
                results["runs"].append(_measure(contestant, round_number, reference, arguments))
            except WrongAnswersError as error:
                print(error, file=sys.stderr)
                return 1
            arguments.out.parent.mkdir(exist_ok=True)
            arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    print(report.table(results), report.figures(results), sep="\n\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int, default=2, help="of a cell, at least")
    parser.add_argument("--clients", type=_integers, metavar="N,…")
    parser.add_argument("--bodies", type=lambda text: text.split(","), metavar=",".join(BODIES))
    parser.add_argument("--only", type=lambda text: text.split(","), metavar=",".join(PEERS))
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--peers-python", type=Path, default=Path(".venv-bench/bin/python"), metavar="FILE")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.clients = arguments.clients or ([1, 64] if arguments.quick else [1, 8, 64, 256])
    arguments.bodies = arguments.bodies or (["multipart"] if arguments.quick else list(BODIES))
    return arguments


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _options(values: dict[str, Any]) -> dict[str, Any]:
    """The options without paths of this machine."""
    return {name: value for name, value in values.items() if not isinstance(value, Path)}


def _measure(
    contestant: Contestant, round_number: int, reference: list[dict[str, float]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Measures one server in one round. A failure of the server is part of the result."""
    run: dict[str, Any] = {"name": contestant.name, "way": contestant.way, "round": round_number, "cells": []}
    started = time.monotonic()
    first = next(pictures("multipart"))
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        try:
            with run_server(contestant.command, contestant.environment, "/predict", first, log) as server:
                run["start_seconds"] = server.start_seconds
                if contestant.way != "stub":
                    run["off"] = _compare_answers(server, contestant, reference)
                if contestant.way == "ours":
                    run["idle_cpu"] = _idle_cpu(server)
                _run_closed_loops(server, contestant, run, arguments)
                run["peak_mib"] = server.peak_bytes() / 2**20
                last_round = round_number == arguments.rounds - 1  # most peers do not recover from the overload
                if contestant.way == "ours" or (contestant.way == "documented" and last_round):
                    _run_open_loops(server, run)
        except (ServerError, subprocess.CalledProcessError, OSError) as error:
            run["error"] = f"{type(error).__name__}: {error}"
    at_64 = next((cell["rate"] for cell in run["cells"] if (cell["body"], cell["clients"]) == ("multipart", 64)), 0)
    outcome = run.get("error") or f"{at_64:.0f} req/s with 64 clients"
    print(f"round {round_number + 1}  {contestant.key:32} {time.monotonic() - started:4.0f} s  {outcome}", flush=True)
    return run


def _compare_answers(server: Server, contestant: Contestant, reference: list[dict[str, float]]) -> float:
    """Returns the largest difference to the reference: the first server's answers. Raises WrongAnswersError."""
    largest = 0.0
    for body in ("multipart", "raw"):
        path = contestant.path(body)
        if path is None:
            continue
        answers = [server.post(path, picture)["probabilities"] for picture in pictures(body)]
        if not reference:
            reference.extend(answers)
        for i, (answer, right) in enumerate(zip(answers, reference, strict=True)):
            off = max(abs(answer[name] - right[name]) for name in right)
            same = right[max(answer, key=answer.__getitem__)] >= max(right.values()) - TOLERANCES[contestant.way]
            if off > TOLERANCES[contestant.way] or not same:
                raise WrongAnswersError(f"{contestant.key}: picture {i} is off by {off:.3f}: {answer}, not {right}")
            largest = max(largest, off)
    return largest


def _headline(results: dict[str, Any]) -> str:
    """The machine, its CPU features and the engine that serves."""
    machine, row = results["machine"], results["engine"][0][0]
    feature = fastest_feature(row["precision"]) if row["device"] == "cpu" else row["device"]
    engine = f"{row['engine']} serves in {row['precision']} with {feature}"
    return f"{machine['processor']}, {machine['cores']} cores; {engine}"


def _idle_cpu(server: Server) -> float:
    """Share of one core that the server uses without requests."""
    before, started = server.cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (server.cpu_seconds() - before) / (time.monotonic() - started)


def _run_closed_loops(
    server: Server, contestant: Contestant, run: dict[str, Any], arguments: argparse.Namespace
) -> None:
    closed_loop(server, "/predict", "multipart", *WARM_UP)
    for body in arguments.bodies:
        path, rate = contestant.path(body), 0.0
        if path is None or (contestant.way == "stub" and body != "multipart"):
            continue
        for clients in arguments.clients:
            if clients not in _client_counts(body, arguments):
                continue
            stretched = round(3 * clients / rate) if rate else 0
            cell: ClosedLoopResult = closed_loop(
                server, path, body, clients, max(arguments.seconds, min(stretched, LONGEST_CELL))
            )
            rate = cell.rate
            run["cells"].append(asdict(cell))


def _client_counts(body: str, arguments: argparse.Namespace) -> list[int]:
    """PNG forms run with every number of clients; to save time the other bodies run with 1 and 64 only."""
    return [clients for clients in arguments.clients if body == "multipart" or clients in (1, 64)]


def _run_open_loops(server: Server, run: dict[str, Any]) -> None:
    """Sends requests at fixed rates below and above what the server can answer."""
    sustainable = max(cell["rate"] for cell in run["cells"] if cell["body"] == "multipart")
    if not sustainable:
        raise ServerError("answered nothing in time")
    run["open"] = [
        {"load": load, **open_loop(server, "/predict", load * sustainable, seconds)}
        for load, seconds in OPEN_LOOP_LOADS
    ]


def _engine_alone() -> list[dict[str, Any]]:
    """Measures the service's engine without the service, in its own process."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "engine.json"
        arguments = ["--only", "auto", "--batch", "1,8,16,32,64", "--seconds", "0.5", "--no-accuracy", "--no-path"]
        command = [sys.executable, "-m", "benchmarks.engines", *arguments, "--out", str(file)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit(f"the engine cannot be measured alone:\n{run.stdout}")
        rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"]
        return rows


if __name__ == "__main__":
    sys.exit(main())
