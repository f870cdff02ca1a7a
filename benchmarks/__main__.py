"""This service and its peers, one after another on this machine, in interleaved rounds.

python -m benchmarks               everything; some twenty minutes on two cores
python -m benchmarks --quick       1 and 64 clients, PNG forms, one round; some five minutes
python -m benchmarks --only lit    this service and one peer: tutorial, lit, bento, rayserve

Before a server is timed it must give the same answers as this service to a hundred pictures. Writes
benchmarks/results/servers.json after every server; python -m benchmarks.report makes the table and the plot of it.
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
from benchmarks.bodies import BODIES, pictures
from benchmarks.load import Closed, closed_loop, open_loop
from benchmarks.machine import describe, fastest_feature
from benchmarks.processes import Server, ServerError, running
from benchmarks.servers import PEERS, Contestant, contestants

RESULTS = Path(__file__).parent / "results" / "servers.json"
TOLERANCES = {"ours": 0.01, "engine": 0.01, "documented": 0.15}
"""How far a probability may be from this service's: hardly on its engine, by what bf16 and int8 do in plain torch."""

IDLE_SECONDS = 10.0
WARM_UP = (8, 1)
"""Clients and seconds of load before anything is timed."""

OPEN = ((0.8, 4.0), (1.0, 4.0), (2.0, 6.0))
"""Loads in open loop, in times the best closed-loop rate, and seconds of each."""
LONGEST = 8
"""Seconds a cell may be stretched to, so that a slow server, too, answers each client a few times."""


class WrongAnswersError(Exception):
    """A server answers otherwise than this one; nothing is compared then."""


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server under test is ended too
    if shutil.which("wrk") is None:
        print("needs wrk: apt-get install wrk", file=sys.stderr)
        return 1
    everyone = contestants(arguments.peers_python, arguments.only)
    results: dict[str, Any] = {"machine": describe(), "options": _plain(vars(arguments)), "runs": [], "engine": []}
    reference: list[dict[str, float]] = []
    for turn in range(arguments.rounds):
        results["engine"].append(_engine_alone())
        if turn == 0:
            print(_head(results), flush=True)
        for contestant in everyone:
            try:
                results["runs"].append(_measure(contestant, turn, reference, arguments))
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


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """What was asked for; not where things lie on this machine."""
    return {name: value for name, value in values.items() if not isinstance(value, Path)}


def _measure(
    contestant: Contestant, turn: int, reference: list[dict[str, float]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Everything about one server in one round; a server that fails is reported as such."""
    run: dict[str, Any] = {"name": contestant.name, "way": contestant.way, "round": turn, "cells": []}
    started = time.monotonic()
    first = next(pictures("multipart"))
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        try:
            with running(contestant.command, contestant.environment, "/predict", first, log) as server:
                run["start_seconds"] = server.start_seconds
                if contestant.way != "stub":
                    run["off"] = _compare(server, contestant, reference)
                if contestant.way == "ours":
                    run["idle_cpu"] = _idle(server)
                _load(server, contestant, run, arguments)
                run["peak_mib"] = server.peak_bytes() / 2**20
                last = turn == arguments.rounds - 1  # after it little can be asked of most
                if contestant.way == "ours" or (contestant.way == "documented" and last):
                    _overload(server, run)
        except (ServerError, subprocess.CalledProcessError, OSError) as error:
            run["error"] = f"{type(error).__name__}: {error}"
    at_64 = next((cell["rate"] for cell in run["cells"] if (cell["body"], cell["clients"]) == ("multipart", 64)), 0)
    outcome = run.get("error") or f"{at_64:.0f} req/s with 64 clients"
    print(f"round {turn + 1}  {contestant.key:32} {time.monotonic() - started:4.0f} s  {outcome}", flush=True)
    return run


def _compare(server: Server, contestant: Contestant, reference: list[dict[str, float]]) -> float:
    """The largest difference; the first to come, this service, says what is right. Raises WrongAnswersError."""
    largest = 0.0
    for body in ("multipart", "raw"):
        path = contestant.path(body)
        if path is None:
            continue
        answers = [server.ask(path, picture)["probabilities"] for picture in pictures(body)]
        if not reference:
            reference.extend(answers)
        for i, (answer, right) in enumerate(zip(answers, reference, strict=True)):
            off = max(abs(answer[name] - right[name]) for name in right)
            same = right[max(answer, key=answer.__getitem__)] >= max(right.values()) - TOLERANCES[contestant.way]
            if off > TOLERANCES[contestant.way] or not same:
                raise WrongAnswersError(f"{contestant.key}: picture {i} is off by {off:.3f}: {answer}, not {right}")
            largest = max(largest, off)
    return largest


def _head(results: dict[str, Any]) -> str:
    """The machine, its CPU features, and the one that serves."""
    machine, row = results["machine"], results["engine"][0][0]
    served = fastest_feature(row["precision"]) if row["device"] == "cpu" else row["device"]
    engine = f"{row['engine']} serves in {row['precision']} with {served}"
    return f"{machine['processor']}, {machine['cores']} cores; {engine}"


def _idle(server: Server) -> float:
    """Share of one core that a server without work uses."""
    before, started = server.cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (server.cpu_seconds() - before) / (time.monotonic() - started)


def _load(server: Server, contestant: Contestant, run: dict[str, Any], arguments: argparse.Namespace) -> None:
    closed_loop(server, "/predict", "multipart", *WARM_UP)
    for body in arguments.bodies:
        path, rate = contestant.path(body), 0.0
        if path is None or (contestant.way == "stub" and body != "multipart"):
            continue
        for clients in arguments.clients:
            if clients not in _useful(body, arguments):
                continue
            stretched = round(3 * clients / rate) if rate else 0
            cell: Closed = closed_loop(server, path, body, clients, max(arguments.seconds, min(stretched, LONGEST)))
            rate = cell.rate
            run["cells"].append(asdict(cell))


def _useful(body: str, arguments: argparse.Namespace) -> list[int]:
    """The PNG form with every number of clients, the others with one and with 64, to keep the whole in bounds."""
    return [clients for clients in arguments.clients if body == "multipart" or clients in (1, 64)]


def _overload(server: Server, run: dict[str, Any]) -> None:
    """More requests than it can answer, and somewhat fewer, whatever becomes of them."""
    sustainable = max(cell["rate"] for cell in run["cells"] if cell["body"] == "multipart")
    if not sustainable:
        raise ServerError("answered nothing in time")
    run["open"] = [
        {"load": load, **open_loop(server, "/predict", load * sustainable, seconds)} for load, seconds in OPEN
    ]


def _engine_alone() -> list[dict[str, Any]]:
    """The engine that the service chooses, without the service, in a process of its own."""
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
