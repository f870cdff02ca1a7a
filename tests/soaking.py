"""python -m tests.soaking: the service at 80 % of what it can do, for twenty minutes (make soak).

Finds its capacity, the most that was answered of three loads around what the engine alone could do, five seconds each;
then sends forms with pictures in open loop at its share of that, and says by the minute how many were answered, the
99th percentile of the latency and the resident memory; then the memory's slope after the first minute. Ctrl-C ends it
early, with the figures up to there.

With --share 2 it is twice what it can do: 503 is an answer then, and no error; the last line says how much of the
capacity was still answered.
"""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

import httpx

from benchmarks.harness.bodies import pictures
from benchmarks.harness.open_loop import run_open_loop
from tests.conftest import Server, run_server

CAPACITY_LOADS, CAPACITY_SECONDS = (0.75, 1.0, 1.25), 5.0
"""Of the engine's own rate, each for so long. More would only cost the cores refusals."""


def memory(server: Server) -> float:
    """Resident MB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def soak(server: Server, share: float, seconds: float, period: float) -> int:
    """A line a period. Ends early, but not without its figures, when interrupted."""
    port = httpx.URL(server.url).port or 80
    requests = [picture.request(port, "/predict") for picture in pictures("multipart")]
    async with httpx.AsyncClient(base_url=server.url) as client:
        engine = (await client.get("/health")).json()["engine"]["pictures_per_second"]
    loads = [load * max(engine.values()) for load in CAPACITY_LOADS]
    capacity = max([(await run_open_loop(port, requests, load, CAPACITY_SECONDS))["accepted_rate"] for load in loads])
    rate, resident, tails, answered, wrong, sent = share * capacity, [memory(server)], [], [], 0, 0
    right = {"200"} if share <= 1 else {"200", "503"}
    print(f"capacity {capacity:.0f} pictures/s; {rate:.0f} from now on", flush=True)
    started = time.monotonic()
    work = asyncio.current_task()
    assert work is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        while time.monotonic() - started < seconds:
            found = await run_open_loop(port, requests, rate, period)
            missing = found["sent"] - sum(found["statuses"].get(status, 0) for status in right)
            tails.append(found["accepted"]["p99"] if found["accepted"] else float("nan"))
            answered.append(found["accepted_rate"])
            resident.append(memory(server))
            wrong, sent = wrong + missing, sent + found["sent"]
            print(
                f"{time.monotonic() - started:5.0f} s: {found['sent']} sent, answers {found['statuses']}, "
                f"{found['accepted_rate']:.0f} a second, p99 {tails[-1]:.1f} ms, {resident[-1]:.0f} MB",
                flush=True,
            )
    except asyncio.CancelledError:
        work.uncancel()
    if len(tails) < 2:
        print(f"{sent} sent, {wrong} errors; too short for a slope")
        return 1
    slope = (resident[-1] - resident[1]) / (period / 60 * (len(tails) - 1))
    spread = f"p99 from {min(tails):.1f} to {max(tails):.1f} ms"
    kept = sum(answered) / len(answered) / capacity
    print(f"{sent} sent, {wrong} errors; {kept:.0%} of capacity answered; memory {slope:+.2f} MB a minute; {spread}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Loads a server for a long time.")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--share", type=float, default=0.8, help="of what the service can do")
    parser.add_argument("--period", type=float, default=60, help="seconds between two lines")
    arguments = parser.parse_args()
    with run_server("setsid", sys.executable, "-m", "app") as server:  # so that Ctrl-C is this program's alone
        return asyncio.run(soak(server, arguments.share, 60 * arguments.minutes, arguments.period))


if __name__ == "__main__":
    sys.exit(main())
