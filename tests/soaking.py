"""python -m tests.soaking: the service at 80 % of what it can do, for twenty minutes (make soak).

Finds its capacity in ten seconds, then sends at that rate, and says by the minute how many pictures were answered, the
99th percentile of the latency and the resident memory; then the memory's slope after the first minute.
"""

import argparse
import asyncio
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

    async def open(self, rate: float, seconds: float) -> None:
        """Latencies count from when a request was due."""
        start, tasks = time.monotonic(), set()
        for number in range(int(rate * seconds)):
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


async def soak(server: Server, minutes: int) -> int:
    pictures = [path.read_bytes() for path in sorted(PICTURES.glob("*.png"))]
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
        capacity = await Load(client, pictures).closed(CAPACITY_SECONDS)
        rate, resident, tails, errors = SHARE * capacity, [memory(server)], [], 0
        print(f"capacity {capacity:.0f} pictures/s with this client beside it; {rate:.0f} from now on", flush=True)
        for minute in range(1, minutes + 1):
            load = Load(client, pictures)
            await load.open(rate, 60)
            tails.append(1000 * statistics.quantiles(load.latencies, n=100)[98])
            resident.append(memory(server))
            errors += len(load.errors)
            what = f", first error: {load.errors[0]}" if load.errors else ""
            print(
                f"minute {minute}: {load.sent} sent, {len(load.errors)} errors, p99 {tails[-1]:.1f} ms, "
                f"{resident[-1]:.0f} MB{what}",
                flush=True,
            )
    slope = (resident[-1] - resident[1]) / max(1, minutes - 1)
    print(f"{errors} errors; memory {slope:+.2f} MB a minute; p99 from {min(tails):.1f} to {max(tails):.1f} ms")
    return 1 if errors else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Loads a server for a long time.")
    parser.add_argument("--minutes", type=int, default=20)
    arguments = parser.parse_args()
    with run_server() as server:
        return asyncio.run(soak(server, arguments.minutes))


if __name__ == "__main__":
    sys.exit(main())
