"""What clients that hold connections do to the others: p99 beside 2,000 idle ones, slow headers and slow bodies.

python -m benchmarks.slow_clients --seconds 10

An open loop at a fixed, modest rate measures the latency alone, then with 2,000 silent connections, 100 that send a
head and 100 that send a body at a byte a second, all renewed as the server closes them. Prints both percentiles and
their ratio; the attackers' own CPU time, in a process of their own, is part of what is measured.
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

from benchmarks.bodies import pictures
from benchmarks.open_loop import drive
from benchmarks.processes import Server, running

IDLE, SLOW = 2000, 100

HEAD = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1000
BODY = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"


async def hold(port: int, at_once: bytes, slowly: bytes) -> None:
    """One attacker: connects, sends, then a byte a second, and comes back when it is thrown out."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(at_once)
            waiting = asyncio.ensure_future(reader.read())
            for byte in slowly:
                done, _ = await asyncio.wait([waiting], timeout=1)
                if done:
                    break
                writer.write(bytes([byte]))
            await waiting
            writer.close()
        except OSError:
            await asyncio.sleep(0.1)


async def attack(port: int, ready: Event) -> None:
    attackers = [hold(port, b"", b"") for _ in range(IDLE)]
    attackers += [hold(port, b"", HEAD) for _ in range(SLOW)]
    attackers += [hold(port, BODY, bytes(1000)) for _ in range(SLOW)]
    tasks = []
    for start in range(0, len(attackers), 50):
        tasks += [asyncio.create_task(attacker) for attacker in attackers[start : start + 50]]
        await asyncio.sleep(0.02)
    ready.set()
    await asyncio.gather(*tasks)


def attacker(port: int, ready: Event) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(attack(port, ready))


def measure(server: Server, rate: float, seconds: float) -> tuple[float, int]:
    """99th percentile in milliseconds, and how many requests were not answered with 200."""
    requests = [picture.request(server.port, "/predict") for picture in pictures("multipart")]
    result = asyncio.run(drive(server.port, requests, rate, seconds))
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
        running(command, {"GOOGLENET_PORT": "{port}"}, "/predict", first, Path(folder) / "log") as server,
    ):
        measure(server, arguments.rate, 1)
        alone, failed = measure(server, arguments.rate, arguments.seconds)
        ready = context.Event()
        process = context.Process(target=attacker, args=(server.port, ready), daemon=True)
        process.start()
        try:
            ready.wait(60)
            time.sleep(1)
            beside, failed_beside = measure(server, arguments.rate, arguments.seconds)
        finally:
            process.terminate()
            process.join()
    print(f"alone: p99 {alone:.2f} ms, {failed} failed")
    print(f"beside {IDLE} idle, {SLOW} slow heads, {SLOW} slow bodies: p99 {beside:.2f} ms, {failed_beside} failed")
    print(json.dumps({"alone": alone, "beside": beside, "ratio": beside / alone}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
