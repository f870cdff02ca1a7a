"""One process, plain replicas behind HAProxy, and Ray Serve on a cluster of several nodes, all on this machine's cores.

python -m benchmarks.ray_cluster                          everything, one round; some five minutes on two cores
python -m benchmarks.ray_cluster --only process,haproxy   some of it, added to what the file has already
python -m benchmarks.ray_cluster --table                  the tables of what the file has

Run it with a Python that has Ray (make ray-check). Every fleet must give the single process's answers to a hundred
pictures, exactly; is then loaded by wrk with PNG forms and with forms of 64 pictures; and loses, under open-loop load,
one replica with all of its node by SIGKILL.
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

from benchmarks.bodies import BATCH, pictures
from benchmarks.load import all_answered, closed_loop, open_loop
from benchmarks.machine import describe
from benchmarks.processes import Server, ServerError, running
from benchmarks.report import spread
from benchmarks.servers import SILENT

RESULTS = Path(__file__).parent / "results" / "fleets.json"
CELLS = (("multipart", 1), ("multipart", 64), ("batch", 4))
"""Body and clients; the first two as everywhere, the last so that pictures never lack and none is refused."""
LOSS_RATE, LOSS_SECONDS, KILL_AFTER = 100.0, 16.0, 4.0
"""Requests a second that any of them manages, how long, and when the replica is killed."""
WHOLE_LIMIT = 90.0


@dataclass(frozen=True)
class Fleet:
    """What is started, and whether a part of it can be killed."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    mortal: bool = False


def _fleet(name: str, *arguments: str, mortal: bool = False, **environment: str) -> Fleet:
    command = (sys.executable, "-m", "benchmarks.fleets", arguments[0], "{port}", *arguments[1:])
    return Fleet(name, command, SILENT | environment, mortal)


OWN = (sys.executable, "-m", "app")
FLEETS = {
    "process": Fleet("one process", OWN, {"GOOGLENET_PORT": "{port}"}),
    "workers": Fleet("two workers", OWN, {"GOOGLENET_PORT": "{port}", "GOOGLENET_WORKERS": "2"}),
    "haproxy": _fleet("two replicas, HAProxy", "haproxy", mortal=True),
    "ray1": _fleet("Ray, one replica", "ray", "--replicas", "1", "--cpus", "2"),
    "ray2": _fleet("Ray, two replicas", "ray", mortal=True),
    "rayha": _fleet("Ray, two replicas, its HAProxy", "ray", mortal=True, RAY_SERVE_ENABLE_HA_PROXY="1"),
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended too
    for name in [] if options.table else options.only:
        results["runs"].append(_measure(FLEETS[name], results["answers"], options.seconds))
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    return 0


def _measure(fleet: Fleet, right: list[dict[str, float]], seconds: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        first = next(pictures("multipart"))
        with running(fleet.command, fleet.environment, "/predict", first, log) as server:
            run: dict[str, Any] = {"name": fleet.name, "start_seconds": server.start_seconds}
            run["off"] = _compare(server, right)
            closed_loop(server, "/predict", "multipart", 64, 1)
            paths = ("/predict/batch" if body == "batch" else "/predict" for body, _ in CELLS)
            run["cells"] = [
                asdict(all_answered(closed_loop(server, path, body, clients, seconds)))
                for path, (body, clients) in zip(paths, CELLS, strict=True)
            ]
            run["peak_mib"] = server.peak_bytes() / 2**20
            if fleet.mortal:
                run["loss"] = _loss(server)
    print(fleet.name, [round(cell["rate"]) for cell in run["cells"]], run.get("loss"), flush=True)
    return run


def _compare(server: Server, right: list[dict[str, float]]) -> float:
    """The largest difference of a probability to the first run's."""
    answers = [server.ask("/predict", picture)["probabilities"] for picture in pictures("multipart")]
    right.extend(answers if not right else ())
    return max(abs(a[label] - b[label]) for a, b in zip(answers, right, strict=True) for label in b)


def _loss(server: Server) -> dict[str, Any]:
    """What becomes of requests at a fixed rate when one of two replicas is killed."""
    murder = threading.Timer(KILL_AFTER, os.kill, (server.process.pid, signal.SIGUSR1))
    murder.start()
    result = open_loop(server, "/predict", LOSS_RATE, LOSS_SECONDS)
    deadline = time.monotonic() + WHOLE_LIMIT
    while not (found := re.search(r"WHOLE after (\S+) s", server.log.read_text())) and time.monotonic() < deadline:
        time.sleep(0.1)
    if not found:
        raise ServerError("the fleet did not become whole again")
    kept = ("sent", "statuses", "unanswered", "accepted")
    return {name: result[name] for name in kept} | {"whole_after": float(found[1])}


def table(results: dict[str, Any]) -> str:
    """Markdown: speed, then what a kill lost."""
    names = dict.fromkeys(run["name"] for run in results["runs"])
    by_name = {name: [run for run in results["runs"] if run["name"] == name] for name in names}
    lines = [
        "| | req/s, 64 clients | p50 ms | p99 ms | CPU ms each | 1 client, p50 ms | pictures/s, 64 a request "
        "| CPU ms a picture | memory MiB | start s | answers off by |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(_row(name, runs) for name, runs in by_name.items()),
        "",
        "| killed | sent | answered 200 | other | p50 ms | p99 ms | whole again after s |",
        "|---|---|---|---|---|---|---|",
        *(_lost(run) for runs in by_name.values() for run in runs if "loss" in run),
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
        spread(BATCH * cell["rate"] for cell in batch),
        spread((cell["server_cpu"] / BATCH for cell in batch), ".2f"),
        spread(run["peak_mib"] for run in runs),
        spread((run["start_seconds"] for run in runs), ".1f"),
        f"{max(run['off'] for run in runs):.6f}",
    ]
    return f"| {name} | {' | '.join(columns)} |"


def _lost(run: dict[str, Any]) -> str:
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
