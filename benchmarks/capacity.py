"""Capacity planning: the cost of a request, the rate that a one-core replica sustains, and the replicas for a rate.

python -m benchmarks.capacity --measure                 measures this machine in a minute; writes results/capacity.json
python -m benchmarks.capacity                           the tables of docs/scaling.md, from that file
python -m benchmarks.capacity --rate 5000 --within 100  replicas for another rate (requests/s) and limit (ms at p99)

The replica is pinned to one core and the load generator to the others, so they do not slow each other down. The
queueing model (benchmarks.queueing) is fitted to two measurements: the median at a tenth of the capacity, where a
request is alone and the caches are cold, and the rate of 64 clients. Open-loop loads in between check the model.
"""

import argparse
import json
import math
import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.harness.bodies import BATCH_SIZE, pictures
from benchmarks.harness.load import closed_loop, open_loop, require_success
from benchmarks.harness.machine import describe
from benchmarks.harness.open_loop import CONTENT_LENGTH
from benchmarks.harness.processes import Server, run_server
from benchmarks.queueing import Replica

RESULTS = Path(__file__).parent / "results" / "capacity.json"
REQUEST_KINDS = {
    "multipart": ("PNG, a form each", "/predict", 1, 64),
    "batch": ("PNG, 64 a form", "/predict/batch", BATCH_SIZE, 4),
    "pixels": ("pixels, 64 a `/v2` request", "/v2/models/googlenet-fashion-mnist/infer", BATCH_SIZE, 4),
    "jpeg": ("12-megapixel JPEG, a form each", "/predict", 1, 4),
}
"""For each kind of body: its name, its path, its pictures, and clients that keep a replica busy without refusals."""
LARGEST_BATCH = 16
"""On one core larger batches raise the rate little."""
LOADS = (0.1, 0.3, 0.5, 0.7, 0.85)
"""Open-loop rates, as shares of the rate of 64 clients. The model is fitted to the first."""
OPEN_SECONDS = 5.0
RATES, LIMITS = [100.0, 1000.0, 10_000.0, 100_000.0], [15.0, 20.0, 30.0, 50.0, 100.0]
"""Of the tables: requests per second, and limits of p99 in milliseconds."""
NODE = {"cores": 16, "gigabits": 10.0}
"""A node of the worked examples."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--rate", type=float, metavar="REQUESTS/S")
    parser.add_argument("--within", type=float, default=50.0, metavar="MS")
    parser.add_argument("--file", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.measure:
        options.file.write_text(json.dumps(measure(), indent=1) + "\n")
    results = json.loads(options.file.read_text())
    model = fit_replica(results)
    if options.rate:
        print(replicas_table(model, [options.rate], [options.within]))
    else:
        tables = [costs_table(results), check_table(results, model), replicas_table(model, RATES, LIMITS)]
        print(*tables, example_table(results, 1000), example_table(results, 100_000), sep="\n\n")
    return 0


def measure() -> dict[str, Any]:
    """Measures the service, and again with an engine that answers at once, as if a GPU did all its work for free."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[1:]) or set(cores))
    command = ("taskset", "-c", str(cores[0]), sys.executable, "-m", "app")
    results: dict[str, Any] = {"machine": describe() | {"cores": len(cores)}}
    for name, engine in (("service", "auto"), ("path", "benchmarks.harness.instant_engine:InstantEngine")):
        environment = {
            "GOOGLENET_PORT": "{port}",
            "GOOGLENET_ENGINE": engine,
            "GOOGLENET_MAX_BATCH_SIZE": str(LARGEST_BATCH),
        }
        first = next(pictures("multipart"))
        with (
            TemporaryDirectory() as folder,
            run_server(command, environment, "/predict", first, Path(folder) / "log") as s,
        ):
            closed_loop(s, "/predict", "multipart", 64, 1)
            results[name] = {kind: _measure_kind(s, kind) for kind in REQUEST_KINDS}
            if name == "service":
                rate = results[name]["multipart"]["rate"]
                results["open"] = [open_loop(s, "/predict", load * rate, OPEN_SECONDS) for load in LOADS]
    return results


def _measure_kind(server: Server, kind: str) -> dict[str, Any]:
    _, path, _, clients = REQUEST_KINDS[kind]
    request = next(pictures(kind)).request(server.port, path)
    cell = asdict(require_success(closed_loop(server, path, kind, clients, 3)))
    return cell | {"bytes_in": len(request), "bytes_out": _answer_bytes(server.port, request)}


def _answer_bytes(port: int, request: bytes) -> int:
    """Size of the answer in bytes, headers included."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        received = b""
        while (length := CONTENT_LENGTH.search(received)) is None:
            received += connection.recv(1 << 20)
    return received.find(b"\r\n\r\n") + 4 + int(length[1])


def fit_replica(results: dict[str, Any]) -> Replica:
    alone = results["open"][0]["accepted"]["p50"] / 1000
    return Replica.from_measurements(alone, results["service"]["multipart"]["rate"], LARGEST_BATCH)


def costs_table(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = [
        "| one core | pictures/s | CPU ms a picture | CPU ms outside the engine | bytes in | bytes out, a picture |",
        "|---|---|---|---|---|---|",
    ]
    for kind, (name, _, count, _) in REQUEST_KINDS.items():
        whole, path = results["service"][kind], results["path"][kind]
        lines.append(
            f"| {name} | {count * whole['rate']:.0f} | {whole['server_cpu'] / count:.2f} "
            f"| {path['server_cpu'] / count:.2f} | {whole['bytes_in'] / count:.0f} | {whole['bytes_out'] / count:.0f} |"
        )
    return "\n".join([*lines, "", f"{machine['processor']}, {machine['when'][:10]}"])


def check_table(results: dict[str, Any], model: Replica) -> str:
    """The model's latencies beside the measured ones."""
    lines = [
        f"A batch of n takes {1000 * model.batch_seconds:.1f} + {1000 * model.picture_seconds:.2f}·n ms, "
        f"n ≤ {model.largest_batch}: at most {model.capacity:.0f} requests/s.",
        "",
        "| requests/s | core busy | p50 ms, measured | by the queue | p99 ms, measured | by the queue |",
        "|---|---|---|---|---|---|",
    ]
    for run in results["open"]:
        found = 1000 * np.quantile(model.latencies(run["rate"]), (0.5, 0.99))
        measured, busy = run["accepted"], min(1.0, run["rate"] * run["server_cpu"] / 1000)
        lines.append(
            f"| {run['rate']:.0f} | {busy:.0%} | {measured['p50']:.1f} | {found[0]:.1f} "
            f"| {measured['p99']:.1f} | {found[1]:.1f} |"
        )
    return "\n".join(lines)


def replicas_table(model: Replica, rates: list[float], limits: list[float]) -> str:
    """One-core replicas needed behind a load balancer, by the model; pauses of the machine itself come on top."""
    sustained = [model.sustained_rate(limit / 1000) for limit in limits]
    lines = [
        "| 99 % within | " + " | ".join(f"{limit:g} ms" for limit in limits) + " |",
        "|---|" + "---|" * len(limits),
        "| requests/s a replica | " + " | ".join(f"{rate:.0f}" for rate in sustained) + " |",
        "| share of its capacity | " + " | ".join(f"{rate / model.capacity:.0%}" for rate in sustained) + " |",
    ]
    for rate in rates:
        counts = [str(math.ceil(rate / one)) if one else "never" for one in sustained]
        lines.append(f"| replicas for {rate:,.0f} requests/s | " + " | ".join(counts) + " |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def example_table(results: dict[str, Any], rate: float) -> str:
    """What this many pictures per second need of each resource."""
    lines = [
        f"| {rate:,.0f} pictures/s | cores | cores, with GPUs | Gbit/s in | Gbit/s out "
        f"| nodes of {NODE['cores']} cores, {NODE['gigabits']:g} Gbit/s | nodes, with GPUs | first to run out |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, (name, _, count, _) in REQUEST_KINDS.items():
        whole, path = (results[way][kind]["server_cpu"] / count for way in ("service", "path"))
        sides = [8e-9 * rate * results["service"][kind][side] / count for side in ("bytes_in", "bytes_out")]
        network = max(sides) / NODE["gigabits"]
        nodes = [max(rate * cpu / 1000 / NODE["cores"], network) for cpu in (whole, path)]
        what = "cores, decoding" if kind == "jpeg" else "cores"
        first = ["network" if network >= n else what for n in nodes]
        lines.append(
            f"| {name} | {rate * whole / 1000:,.1f} | {rate * path / 1000:,.1f} "
            f"| {_short(sides[0])} | {_short(sides[1])} "
            f"| {math.ceil(nodes[0])} | {math.ceil(nodes[1])} | {first[0]}; with GPUs: {first[1]} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
