"""Measures p99 while slow clients attack: 2,000 idle connections, 100 slow headers and 100 slow bodies.

python -m benchmarks.slow_clients --seconds 10

An open loop at a low, fixed rate measures the latency first alone, then under attack: 2,000 silent connections, 100
that send their headers and 100 that send their body at one byte per second. Attackers connect again when the server
closes their connection. Prints both percentiles and their ratio. The attackers run in another process on the same
cores.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import sys
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.bodies import pictures
from benchmarks.harness.open_loop import run_open_loop
from benchmarks.harness.processes import Server, run_server

IDLE_CONNECTIONS, SLOW_CONNECTIONS = 2000, 100

SLOW_HEADERS = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1000
SLOW_BODY_REQUEST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"


async def attacker(port: int, at_once: bytes, slowly: bytes) -> None:
    """Connects, sends `at_once`, then one byte of `slowly` per second, and connects again when it is disconnected."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(at_once)
            disconnected = asyncio.ensure_future(reader.read())
            for byte in slowly:
                done, _ = await asyncio.wait([disconnected], timeout=1)
                if done:
                    break
                writer.write(bytes([byte]))
            await disconnected
            writer.close()
        except OSError:
            await asyncio.sleep(0.1)


async def attack(port: int, ready: Event) -> None:
    attackers = [attacker(port, b"", b"") for _ in range(IDLE_CONNECTIONS)]
    attackers += [attacker(port, b"", SLOW_HEADERS) for _ in range(SLOW_CONNECTIONS)]
    attackers += [attacker(port, SLOW_BODY_REQUEST, bytes(1000)) for _ in range(SLOW_CONNECTIONS)]
    tasks = []
    for start in range(0, len(attackers), 50):
        tasks += [asyncio.create_task(task) for task in attackers[start : start + 50]]
        await asyncio.sleep(0.02)
    ready.set()
    await asyncio.gather(*tasks)


def run_attack(port: int, ready: Event) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(attack(port, ready))


def measure(server: Server, rate: float, seconds: float) -> tuple[float, int]:
    """Returns p99 in milliseconds, and the number of requests that were not answered with 200."""
    requests = [picture.request(server.port, "/predict") for picture in pictures("multipart")]
    result = asyncio.run(run_open_loop(server.port, requests, rate, seconds))
    return float(result["accepted"]["p99"]), int(result["sent"]) - int(result["statuses"].get("200", 0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    arguments = parser.parse_args()
    first, command = next(iter(pictures("multipart"))), [sys.executable, "-m", "app"]
    context = multiprocessing.get_context("spawn")
    with (
        TemporaryDirectory() as folder,
        run_server(command, {"GOOGLENET_PORT": "{port}"}, "/predict", first, Path(folder) / "log") as server,
    ):
        measure(server, arguments.rate, 1)
        alone, failed = measure(server, arguments.rate, arguments.seconds)
        ready = context.Event()
        process = context.Process(target=run_attack, args=(server.port, ready), daemon=True)
        process.start()
        try:
            ready.wait(60)
            time.sleep(1)
            attacked, failed_attacked = measure(server, arguments.rate, arguments.seconds)
        finally:
            process.terminate()
            process.join()
    print(f"alone: p99 {alone:.2f} ms, {failed} failed")
    attack_name = f"{IDLE_CONNECTIONS} idle, {SLOW_CONNECTIONS} slow heads, {SLOW_CONNECTIONS} slow bodies"
    print(f"beside {attack_name}: p99 {attacked:.2f} ms, {failed_attacked} failed")
    print(json.dumps({"alone": alone, "beside": attacked, "ratio": attacked / alone}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
