"""Stage 3 of deploy/gpu_check.py: requests per second of the whole service over HTTP, and the CPU cores it uses.

The load is a closed loop: client processes with keep-alive connections send a request when the last one is answered.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import cycle

import numpy as np

from benchmarks.gpu.reporting import parse_options, report
from benchmarks.harness.bodies import PICTURES, Body, form, tensor
from benchmarks.harness.processes import Server, run_server
from model.checkpoint import SHIPPED, Checkpoint

CLIENTS, WORKERS = (1, 64, 256), (1, 4, 8, 16)
SECONDS = 3.0
TENSOR_PICTURES, TENSOR_CLIENTS = 256, 2
"""Pictures per /v2 request, and clients that send them. All of them fit into the queue."""


def main() -> int:
    if "--client" in sys.argv:
        return _run_client()
    options = parse_options(__doc__ or "")
    model = Checkpoint.load(SHIPPED).metadata.name
    seconds = 1.0 if options.small else SECONDS
    for workers in (1,) if options.small else WORKERS:
        environment = {
            "GOOGLENET_PORT": "{port}",
            "GOOGLENET_DEVICE": options.device,
            "GOOGLENET_WORKERS": f"{workers}",
        }
        log = options.out / f"service-{workers}.log"
        with run_server((sys.executable, "-m", "app"), environment, "/predict", _forms()[0], log) as server:
            report(f"{workers} workers: start to first answer, s", server.start_seconds)
            for clients in CLIENTS[:2] if options.small else CLIENTS:
                _measure(
                    server, f"{workers} workers, {clients} clients, PNG forms", "/predict", "forms", clients, seconds
                )
            path = f"/v2/models/{model}/infer"
            name = f"{workers} workers, {TENSOR_CLIENTS} clients, {TENSOR_PICTURES}-picture tensors"
            _measure(server, name, path, "tensors", TENSOR_CLIENTS, seconds)
    return 0


def _measure(server: Server, name: str, path: str, body: str, clients: int, seconds: float) -> None:
    """Reports pictures per second, latency in milliseconds, failures, and the cores that the server used."""
    processes = min(clients, max(1, (os.cpu_count() or 2) // 2))
    command = [sys.executable, "-m", "benchmarks.gpu.service_speed", "--client", str(server.port), path, body]
    shares = [clients // processes + (i < clients % processes) for i in range(processes)]
    before, started = server.cpu_seconds(), time.perf_counter()
    running_clients = [
        subprocess.Popen([*command, str(seconds), str(n)], stdout=subprocess.PIPE, text=True) for n in shares
    ]
    results = [json.loads(client.communicate()[0]) for client in running_clients]
    elapsed, cpu = time.perf_counter() - started, server.cpu_seconds() - before
    latencies = sorted(value for result in results for value in result["milliseconds"])
    failed = sum(result["failed"] for result in results)
    pictures = TENSOR_PICTURES if body == "tensors" else 1
    value = {
        "pictures/s": pictures * sum(len(result["milliseconds"]) / result["seconds"] for result in results),
        "p50 ms": statistics.median(latencies) if latencies else None,
        "p99 ms": latencies[int(0.99 * len(latencies))] if latencies else None,
        "cores used": cpu / elapsed,
        "requests": len(latencies),
        "failed": failed,
    }
    report(name, value, bool(latencies) and failed == 0)


def _forms() -> list[Body]:
    return [form(path.name, "image/png", path.read_bytes()) for path in sorted(PICTURES.glob("*.png"))]


def _tensors() -> list[Body]:
    return [tensor(np.resize(Checkpoint.load(SHIPPED).golden.pixels, (TENSOR_PICTURES, 96, 96)))]


def _run_client() -> int:
    """Runs as a client process and prints latencies and failures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", action="store_true")
    for name, kind in (("port", int), ("path", str), ("body", str), ("seconds", float), ("connections", int)):
        parser.add_argument(name, type=kind)
    given = parser.parse_args()
    bodies = _forms() if given.body == "forms" else _tensors()
    requests = [body.request(given.port, given.path) for body in bodies]
    print(json.dumps(asyncio.run(_run_connections(given.port, requests, given.seconds, given.connections))))
    return 0


async def _run_connections(port: int, requests: list[bytes], seconds: float, connections: int) -> dict[str, object]:
    milliseconds: list[float] = []
    failed = 0
    started = time.perf_counter()

    async def connection(first: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        for request in cycle(requests[first:] + requests[:first]):
            sent = time.perf_counter()
            if sent > started + seconds:
                break
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0]))
            if head.startswith(b"http/1.1 200"):
                milliseconds.append(1000 * (time.perf_counter() - sent))
            else:
                failed += 1
        writer.close()

    ends = await asyncio.gather(*(connection(i % len(requests)) for i in range(connections)), return_exceptions=True)
    failed += sum(isinstance(end, BaseException) for end in ends)
    return {"milliseconds": milliseconds, "failed": failed, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    sys.exit(main())
