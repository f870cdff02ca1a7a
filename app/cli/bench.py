"""`bench`: how fast the engine is by batch size, and how fast a running service."""

import asyncio
import time
from io import BytesIO

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from app.client import AsyncClient
from app.errors import ServiceError
from app.inference.engines.base import Engine
from app.inference.engines.batch_size import BATCH_SIZES, seconds_per_batch, useful_batch_size, warm_up
from model.checkpoint import SHIPPED, Checkpoint

SIDE = 28
"""Pixels of the pictures that are sent: as in the data set."""

SLOW = 0.5
"""Seconds a batch, beyond which larger ones than are in use are not measured."""


def measure_engine(engine: Engine, checkpoint: Checkpoint) -> None:
    """Its rate by batch size, and the size that a service would go by."""
    pixels = checkpoint.golden.pixels
    chosen = useful_batch_size(warm_up(engine, pixels))
    seconds: dict[int, float] = {}
    for size in BATCH_SIZES:
        seconds[size] = seconds_per_batch(engine, pixels, size)
        if size >= chosen and seconds[size] > SLOW:
            break
    table = Table("batch", "ms", "pictures/s", "", title=f"{engine.name} on {engine.device} in {engine.precision}")
    for size, taken in seconds.items():
        mark = "largest batch in use" if size == chosen else ""
        table.add_row(str(size), f"{1000 * taken:.2f}", f"{size / taken:.0f}", mark)
    Console().print(table)


def measure_service(url: str, api_key: str | None, seconds: float, concurrency: int) -> None:
    """A closed loop: each of so many clients sends its next picture when it has the answer to the last."""
    taken, errors, elapsed = asyncio.run(_load(url, api_key, seconds, concurrency))
    table = Table(
        "pictures/s", "p50 ms", "p95 ms", "p99 ms", "answers", "errors", title=f"{url}, {concurrency} at once"
    )
    percentiles = np.percentile(taken, (50, 95, 99)) if taken else np.full(3, np.nan)
    figures = (f"{1000 * value:.1f}" for value in percentiles)
    table.add_row(f"{len(taken) / elapsed:.0f}", *figures, str(len(taken)), str(errors))
    Console().print(table)


async def _load(url: str, api_key: str | None, seconds: float, concurrency: int) -> tuple[list[float], int, float]:
    """Seconds of each answer, the number of errors, and how long it all took."""
    pictures, taken, errors = _pictures(), list[float](), 0

    async def send(client: AsyncClient, i: int) -> None:
        nonlocal errors
        while time.perf_counter() < end:
            began, i = time.perf_counter(), (i + 1) % len(pictures)
            try:
                await client.predict(pictures[i])
                taken.append(time.perf_counter() - began)
            except ServiceError:
                errors += 1

    async with AsyncClient(url, api_key=api_key, attempts=1) as client:
        await client.predict(pictures[0])  # raises if there is nobody
        started = time.perf_counter()
        end = started + seconds
        await asyncio.gather(*(send(client, i) for i in range(concurrency)))
        return taken, errors, time.perf_counter() - started


def _pictures() -> list[bytes]:
    """The golden pictures of the shipped checkpoint as PNG."""
    files = []
    for pixels in Checkpoint.load(SHIPPED).golden.pixels:
        file = BytesIO()
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(file, "PNG")
        files.append(file.getvalue())
    return files
