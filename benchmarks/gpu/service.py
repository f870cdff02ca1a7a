"""Stage 3 of deploy/gpu_check.py: requests a second of the whole service over HTTP, and what limits it.

Client processes of our own, each with keep-alive connections that send the next request when the last is answered.
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

from benchmarks.bodies import PICTURES, Body, form
from benchmarks.gpu.stage import options, report
from benchmarks.processes import Server, running
from model.checkpoint import SHIPPED, Checkpoint

CLIENTS, WORKERS = (1, 64, 256), (1, 4, 8, 16)
SECONDS = 3.0
TENSOR, SENDERS = 256, 2
"""Pictures of a /v2 request, and clients that send them: together fewer than the queue of a card holds."""


def main() -> int:
    if "--client" in sys.argv:
        return _client()
    chosen = options(__doc__ or "")
    model = Checkpoint.load(SHIPPED).metadata.name
    seconds = 1.0 if chosen.small else SECONDS
    for workers in (1,) if chosen.small else WORKERS:
        environment = {"GOOGLENET_PORT": "{port}", "GOOGLENET_DEVICE": chosen.device, "GOOGLENET_WORKERS": str(workers)}
        log = chosen.out / f"service-{workers}.log"
        with running((sys.executable, "-m", "app"), environment, "/predict", _forms()[0], log) as server:
            report(f"{workers} workers: start to first answer, s", server.start_seconds)
            for clients in CLIENTS[:2] if chosen.small else CLIENTS:
                _measure(
                    server, f"{workers} workers, {clients} clients, PNG forms", "/predict", "forms", clients, seconds
                )
            path = f"/v2/models/{model}/infer"
            name = f"{workers} workers, {SENDERS} clients, {TENSOR}-picture tensors"
            _measure(server, name, path, "tensors", SENDERS, seconds)
    return 0


def _measure(server: Server, name: str, path: str, body: str, clients: int, seconds: float) -> None:
    """Reports answers a second, latency in milliseconds, failures, and the cores that the server used."""
    processes = min(clients, max(1, (os.cpu_count() or 2) // 2))
    command = [sys.executable, "-m", "benchmarks.gpu.service", "--client", str(server.port), path, body, str(seconds)]
    shares = [clients // processes + (i < clients % processes) for i in range(processes)]
    before, started = server.cpu_seconds(), time.perf_counter()
    running_clients = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in shares]
    found = [json.loads(client.communicate()[0]) for client in running_clients]
    elapsed, cpu = time.perf_counter() - started, server.cpu_seconds() - before
    latencies = sorted(value for one in found for value in one["milliseconds"])
    failed = sum(one["failed"] for one in found)
    each = TENSOR if body == "tensors" else 1
    value = {
        "pictures/s": each * sum(len(one["milliseconds"]) / one["seconds"] for one in found),
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
    pixels = np.resize(Checkpoint.load(SHIPPED).golden.pixels, (TENSOR, 96, 96))
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": pixels.shape}
    tensor["parameters"] = {"binary_data_size": pixels.nbytes}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return [Body("application/octet-stream", head + pixels.tobytes(), len(head))]


def _client() -> int:
    """One client process: prints latencies and failures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", action="store_true")
    for name, kind in (("port", int), ("path", str), ("body", str), ("seconds", float), ("connections", int)):
        parser.add_argument(name, type=kind)
    given = parser.parse_args()
    bodies = _forms() if given.body == "forms" else _tensors()
    requests = [body.request(given.port, given.path) for body in bodies]
    print(json.dumps(asyncio.run(_drive(given.port, requests, given.seconds, given.connections))))
    return 0


async def _drive(port: int, requests: list[bytes], seconds: float, connections: int) -> dict[str, object]:
    taken: list[float] = []
    failed = 0
    started = time.perf_counter()

    async def connection(first: int) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        for request in cycle(requests[first:] + requests[:first]):
            begun = time.perf_counter()
            if begun > started + seconds:
                break
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"\r\ncontent-length:")[2].split(b"\r\n")[0]))
            if head.startswith(b"http/1.1 200"):
                taken.append(1000 * (time.perf_counter() - begun))
            else:
                failed += 1
        writer.close()

    ends = await asyncio.gather(*(connection(i % len(requests)) for i in range(connections)), return_exceptions=True)
    failed += sum(isinstance(end, BaseException) for end in ends)
    return {"milliseconds": taken, "failed": failed, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    sys.exit(main())
