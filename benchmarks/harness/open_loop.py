"""Open-loop load generator: requests leave at their due times, however many are unanswered, so queueing shows.

python -m benchmarks.harness.open_loop --port 8000 --rate 500 --seconds 5 REQUESTS

REQUESTS is a file of complete HTTP requests, each as "length\\nbytes". Arrivals are a Poisson process with a fixed
seed. Latency counts from the moment a request was due, so a slow client hides nothing (G. Tene's "coordinated
omission"). Idle connections are used again; if there is none, a new one is opened. Prints JSON; times are milliseconds.
"""

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

try:
    import uvloop
except ImportError:  # uvloop does not exist for every system; asyncio takes more CPU time
    uvloop = None

LAST_ANSWERS_TIMEOUT = 30.0
"""Seconds."""

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Run:
    """The state of one run. Times are seconds from its start; the index of a request is its place in `due`."""

    requests: list[bytes]
    due: list[float]
    loop: asyncio.AbstractEventLoop
    started: float = 0.0
    sent: list[float] = field(default_factory=list)
    answers: list[tuple[int, float, int]] = field(default_factory=list)
    """(index, time, status). Status 0 is a broken connection."""
    idle: list["Connection"] = field(default_factory=list)
    transports: list[asyncio.BaseTransport] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> float:
        return time.perf_counter() - self.started

    def answer(self, index: int, status: int) -> None:
        self.answers.append((index, self.now(), status))
        if len(self.answers) == len(self.due):
            self.finished.set()


class Connection(asyncio.Protocol):
    """A keep-alive connection with at most one request at a time. `index` is that request, or -1."""

    def __init__(self, run: Run, index: int) -> None:
        self.run, self.index = run, index
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.run.transports.append(transport)
        self.send(self.index)

    def send(self, index: int) -> None:
        self.index = index
        self.transport.write(self.run.requests[index % len(self.run.requests)])  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.received += data
        head = self.received.find(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(self.received, 0, head + 2) if head >= 0 else None
        if length is None or len(self.received) < head + 4 + int(length[1]):
            return
        status, self.received = int(self.received[9:12]), b""
        index, self.index = self.index, -1
        self.run.idle.append(self)
        self.run.answer(index, status)

    def connection_lost(self, error: Exception | None) -> None:
        if self.index >= 0:
            self.run.answer(self.index, 0)
        elif self in self.run.idle:
            self.run.idle.remove(self)


async def run_open_loop(port: int, requests: list[bytes], rate: float, seconds: float) -> dict[str, Any]:
    """Sends requests for `seconds`, waits for the answers and returns the summary."""
    gaps = np.random.default_rng(0).exponential(1 / rate, int(2 * rate * seconds) + 100)
    due = np.cumsum(gaps)
    loop = asyncio.get_running_loop()
    run = Run(requests, due[due < seconds].tolist(), loop, time.perf_counter())
    cpu = time.process_time()
    opening: set[asyncio.Task[None]] = set()
    for index, moment in enumerate(run.due):
        await asyncio.sleep(max(0.0, moment - run.now()))
        run.sent.append(run.now())
        if run.idle:
            run.idle.pop().send(index)
        else:
            task = loop.create_task(_open(run, port, index))
            opening.add(task)
            task.add_done_callback(opening.discard)
    with suppress(TimeoutError):  # missing answers are counted as unanswered
        await asyncio.wait_for(run.finished.wait(), LAST_ANSWERS_TIMEOUT)
    summary = _summary(run, rate, seconds, time.process_time() - cpu)
    await _close_all(run, opening)
    return summary


async def _open(run: Run, port: int, index: int) -> None:
    try:
        await run.loop.create_connection(lambda: Connection(run, index), "127.0.0.1", port)
    except OSError:
        run.answer(index, 0)


async def _close_all(run: Run, opening: "set[asyncio.Task[None]]") -> None:
    """Closes the connections that are open or being opened."""
    for task in opening:
        task.cancel()
    await asyncio.gather(*opening, return_exceptions=True)
    run.idle.clear()
    for transport in run.transports:
        transport.abort()  # type: ignore[attr-defined]
    await asyncio.sleep(0)


def _summary(run: Run, rate: float, seconds: float, cpu: float) -> dict[str, Any]:
    by_status = Counter(status for _, _, status in run.answers)
    steady = [when for _, when, status in run.answers if status == 200 and seconds / 2 <= when < seconds]
    return {
        "rate": rate,
        "seconds": seconds,
        "sent": len(run.due),
        "statuses": {str(status): count for status, count in sorted(by_status.items())},
        "unanswered": len(run.due) - len(run.answers),
        "connections": len(run.transports),
        "accepted_rate": 2 * len(steady) / seconds,  # of the second half, when the queue has settled
        "accepted": _latencies(run, 200),
        "refused": _latencies(run, 503),
        "late": _percentiles([sent - due for sent, due in zip(run.sent, run.due, strict=True)]),
        "client_cpu": 1000 * cpu / max(1, len(run.due)),
    }


def _latencies(run: Run, status: int) -> dict[str, float] | None:
    return _percentiles([when - run.due[index] for index, when, got in run.answers if got == status])


def _percentiles(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {f"p{q}": 1000 * float(np.percentile(values, q)) for q in (50, 99)}


def read_requests(file: Path) -> list[bytes]:
    """Reads a file of requests, each as "length\\nbytes"."""
    data, requests = file.read_bytes(), []
    while data:
        length, _, data = data.partition(b"\n")
        requests.append(data[: int(length)])
        data = data[int(length) :]
    return requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("requests", type=Path)
    arguments = parser.parse_args()
    work = run_open_loop(arguments.port, read_requests(arguments.requests), arguments.rate, arguments.seconds)
    print(json.dumps(uvloop.run(work) if uvloop else asyncio.run(work)))


if __name__ == "__main__":
    main()
