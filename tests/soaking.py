"""python -m tests.soaking: the service at 80 % of what it can do, for twenty minutes (make soak).

Finds its capacity in ten seconds, then sends at that rate, and says by the minute how many pictures were answered, the
99th percentile of the latency and the resident memory; then the memory's slope after the first minute. Ctrl-C ends it
early, with the figures up to there.
"""

import argparse
import asyncio
import signal
import statistics
import sys
import time
from pathlib import Path

import httpx

from tests.conftest import PICTURES, Server, run_server

SHARE = 0.8
CAPACITY_SECONDS = 10.0
CLIENTS = 32


class Load:
    """A closed loop of clients, or an open one at a rate."""

    def __init__(self, client: httpx.AsyncClient, pictures: list[bytes]) -> None:
        self.client, self.pictures = client, pictures
        self.latencies: list[float] = []
        self.errors: list[str] = []
        self.sent = 0

    async def ask(self, due: float) -> None:
        self.sent += 1
        try:
            answer = await self.client.post("/predict", content=self.pictures[self.sent % len(self.pictures)])
            if answer.status_code != 200:
                self.errors.append(f"{answer.status_code} {answer.text}")
        except httpx.HTTPError as error:
            self.errors.append(repr(error))
        self.latencies.append(time.monotonic() - due)

    async def closed(self, seconds: float) -> float:
        """Answers a second."""
        until = time.monotonic() + seconds

        async def client() -> None:
            while time.monotonic() < until:
                await self.ask(time.monotonic())

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        return len(self.latencies) / seconds

    async def open(self, rate: float, seconds: float, stopping: asyncio.Event) -> None:
        """Latencies count from when a request was due."""
        start, tasks = time.monotonic(), set()
        for number in range(int(rate * seconds)):
            if stopping.is_set():
                break
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(self.ask(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)


def memory(server: Server) -> float:
    """Resident MB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def soak(server: Server, seconds: float, period: float) -> int:
    """A line a period. Ends early, but not without its figures, when interrupted."""
    pictures = [path.read_bytes() for path in sorted(PICTURES.glob("*.png"))]
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
        capacity = await Load(client, pictures).closed(CAPACITY_SECONDS)
        rate, resident, tails, errors, sent = SHARE * capacity, [memory(server)], [], 0, 0
        print(f"capacity {capacity:.0f} pictures/s with this client beside it; {rate:.0f} from now on", flush=True)
        started = time.monotonic()
        while not stopping.is_set() and time.monotonic() - started < seconds:
            load = Load(client, pictures)
            await load.open(rate, period, stopping)
            if load.sent < 100:
                break
            tails.append(1000 * statistics.quantiles(load.latencies, n=100)[98])
            resident.append(memory(server))
            errors, sent = errors + len(load.errors), sent + load.sent
            what = f", first error: {load.errors[0]}" if load.errors else ""
            print(
                f"{time.monotonic() - started:5.0f} s: {load.sent} sent, {len(load.errors)} errors, "
                f"p99 {tails[-1]:.1f} ms, {resident[-1]:.0f} MB{what}",
                flush=True,
            )
    if len(tails) < 2:
        print(f"{sent} sent, {errors} errors; too short for a slope")
        return 1
    slope = (resident[-1] - resident[1]) / (period / 60 * (len(tails) - 1))
    spread = f"p99 from {min(tails):.1f} to {max(tails):.1f} ms"
    print(f"{sent} sent, {errors} errors; memory {slope:+.2f} MB a minute; {spread}")
    return 1 if errors else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Loads a server for a long time.")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--period", type=float, default=60, help="seconds between two lines")
    arguments = parser.parse_args()
    with run_server("setsid", sys.executable, "-m", "app") as server:  # so that Ctrl-C is this program's alone
        return asyncio.run(soak(server, 60 * arguments.minutes, arguments.period))


if __name__ == "__main__":
    sys.exit(main())
