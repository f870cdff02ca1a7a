"""Compares one process, replicas behind HAProxy, and Ray Serve on a local cluster; and what a killed replica loses.

python -m benchmarks.fleets                          everything, one round; about five minutes on two cores
python -m benchmarks.fleets --only process,haproxy   some fleets; the results are added to the file
python -m benchmarks.fleets --table                  only prints the tables of the file

Run it with a Python that has Ray (make ray-check). Every fleet's answers to a hundred
pictures are compared with the single process's. Then wrk loads it with PNG forms and with forms of 64 pictures. Last,
SIGKILL ends one replica and its node under open-loop load.
"""

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contestants import QUIET_PEERS
from benchmarks.harness.bodies import BATCH_SIZE, pictures
from benchmarks.harness.load import closed_loop, open_loop, require_success
from benchmarks.harness.machine import describe
from benchmarks.harness.processes import Server, ServerError, run_server
from benchmarks.report import spread

RESULTS = Path(__file__).parent / "results" / "fleets.json"
CELLS = (("multipart", 1), ("multipart", 64), ("batch", 4))
"""Body and clients. Four clients with 64 pictures each keep a fleet busy, and none is refused."""
LOSS_RATE, LOSS_SECONDS, KILL_AFTER = 100.0, 16.0, 4.0
"""A rate that every fleet can answer, how long it lasts, and when the replica is killed."""
RECOVERY_LIMIT = 90.0


@dataclass(frozen=True)
class Fleet:
    """How to start a fleet. `killable` is whether one of its replicas is killed."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    killable: bool = False


def _fleet(name: str, *arguments: str, killable: bool = False, **environment: str) -> Fleet:
    command = (sys.executable, "-m", "benchmarks.harness.replicas", arguments[0], "{port}", *arguments[1:])
    return Fleet(name, command, QUIET_PEERS | environment, killable)


SERVE = (sys.executable, "-m", "app")
FLEETS = {
    "process": Fleet("one process", SERVE, {"GOOGLENET_PORT": "{port}"}),
    "workers": Fleet("two workers", SERVE, {"GOOGLENET_PORT": "{port}", "GOOGLENET_WORKERS": "2"}),
    "haproxy": _fleet("two replicas, HAProxy", "haproxy", killable=True),
    "ray1": _fleet("Ray, one replica", "ray", "--replicas", "1", "--cpus", "2"),
    "ray2": _fleet("Ray, two replicas", "ray", killable=True),
    "rayha": _fleet("Ray, two replicas, its HAProxy", "ray", killable=True, RAY_SERVE_ENABLE_HA_PROXY="1"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(FLEETS), metavar=",".join(FLEETS))
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = (
        json.loads(options.out.read_text())
        if options.out.exists()
        else {"machine": describe(), "answers": [], "runs": []}
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # also stops the fleet
    for name in [] if options.table else options.only:
        results["runs"].append(_measure(FLEETS[name], results["answers"], options.seconds))
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    return 0


def _measure(fleet: Fleet, reference: list[dict[str, float]], seconds: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        first = next(pictures("multipart"))
        with run_server(fleet.command, fleet.environment, "/predict", first, log) as server:
            run: dict[str, Any] = {"name": fleet.name, "start_seconds": server.start_seconds}
            run["off"] = _compare_answers(server, reference)
            closed_loop(server, "/predict", "multipart", 64, 1)
            paths = ("/predict/batch" if body == "batch" else "/predict" for body, _ in CELLS)
            run["cells"] = [
                asdict(require_success(closed_loop(server, path, body, clients, seconds)))
                for path, (body, clients) in zip(paths, CELLS, strict=True)
            ]
            run["peak_mib"] = server.peak_bytes() / 2**20
            if fleet.killable:
                run["loss"] = _kill_a_replica(server)
    print(fleet.name, [round(cell["rate"]) for cell in run["cells"]], run.get("loss"), flush=True)
    return run


def _compare_answers(server: Server, reference: list[dict[str, float]]) -> float:
    """Returns the largest difference of a probability to the first fleet's."""
    answers = [server.post("/predict", picture)["probabilities"] for picture in pictures("multipart")]
    reference.extend(answers if not reference else ())
    return max(abs(a[label] - b[label]) for a, b in zip(answers, reference, strict=True) for label in b)


def _kill_a_replica(server: Server) -> dict[str, Any]:
    """Sends requests at a fixed rate, kills one of two replicas, and counts the answers."""
    kill = threading.Timer(KILL_AFTER, os.kill, (server.process.pid, signal.SIGUSR1))
    kill.start()
    result = open_loop(server, "/predict", LOSS_RATE, LOSS_SECONDS)
    deadline = time.monotonic() + RECOVERY_LIMIT
    while not (found := re.search(r"WHOLE after (\S+) s", server.log.read_text())) and time.monotonic() < deadline:
        time.sleep(0.1)
    if not found:
        raise ServerError("the killed replica was not replaced in time")
    kept = ("sent", "statuses", "unanswered", "accepted")
    return {name: result[name] for name in kept} | {"whole_after": float(found[1])}


def table(results: dict[str, Any]) -> str:
    """Markdown: a table of speed, and one of what the kill cost."""
    names = dict.fromkeys(run["name"] for run in results["runs"])
    by_name = {name: [run for run in results["runs"] if run["name"] == name] for name in names}
    lines = [
        "| | req/s, 64 clients | p50 ms | p99 ms | CPU ms each | 1 client, p50 ms | pictures/s, 64 a request "
        "| CPU ms a picture | memory MiB | start s | largest difference of a probability |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(_row(name, runs) for name, runs in by_name.items()),
        "",
        "| killed | sent | answered 200 | other | p50 ms | p99 ms | both replicas answer again after s |",
        "|---|---|---|---|---|---|---|",
        *(_kill_row(run) for runs in by_name.values() for run in runs if "loss" in run),
    ]
    machine = results["machine"]
    return "\n".join([*lines, "", f"{machine['processor']}, {machine['cores']} cores, {machine['when'][:10]}"])


def _row(name: str, runs: list[dict[str, Any]]) -> str:
    one, many, batch = ([run["cells"][i] for run in runs] for i in range(len(CELLS)))
    columns = [
        spread(cell["rate"] for cell in many),
        spread(cell["p50"] for cell in many),
        spread(cell["p99"] for cell in many),
        spread((cell["server_cpu"] for cell in many), ".2f"),
        spread((cell["p50"] for cell in one), ".2f"),
        spread(BATCH_SIZE * cell["rate"] for cell in batch),
        spread((cell["server_cpu"] / BATCH_SIZE for cell in batch), ".2f"),
        spread(run["peak_mib"] for run in runs),
        spread((run["start_seconds"] for run in runs), ".1f"),
        f"{max(run['off'] for run in runs):.6f}",
    ]
    return f"| {name} | {' | '.join(columns)} |"


def _kill_row(run: dict[str, Any]) -> str:
    loss = run["loss"]
    others = {status: n for status, n in loss["statuses"].items() if status != "200"} | {"none": loss["unanswered"]}
    text = ", ".join(f"{n} × {'broken' if status == '0' else status}" for status, n in others.items() if n) or "none"
    times = loss["accepted"]
    return (
        f"| {run['name']} | {loss['sent']} | {loss['statuses'].get('200', 0)} | {text} | {times['p50']:.1f} "
        f"| {times['p99']:.0f} | {loss['whole_after']} |"
    )


if __name__ == "__main__":
    sys.exit(main())
