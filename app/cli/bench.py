"""The `bench` command: measures the engine by batch size, or a running service."""

import asyncio
import time

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from app.client import AsyncClient
from app.client.encoding import encode
from app.errors import ServiceError
from app.inference.engines.base import Engine
from app.inference.engines.batch_size import BATCH_SIZES, seconds_per_batch, useful_batch_size, warm_up
from model.checkpoint import SHIPPED, Checkpoint

PICTURE_SIDE = 28
"""Pixels of the side of a picture that is sent, as in Fashion-MNIST."""

SLOWEST_BATCH = 0.5
"""Seconds. If a batch takes longer, larger ones are measured only up to the service's batch size."""


def measure_engine(engine: Engine, checkpoint: Checkpoint) -> None:
    """Prints the engine's rate by batch size, and marks the largest batch that a service would use."""
    pixels = checkpoint.golden.pixels
    service_batch_size = useful_batch_size(warm_up(engine, pixels))
    seconds: dict[int, float] = {}
    for size in BATCH_SIZES:
        seconds[size] = seconds_per_batch(engine, pixels, size)
        if size >= service_batch_size and seconds[size] > SLOWEST_BATCH:
            break
    table = Table("batch", "ms", "pictures/s", "", title=f"{engine.name} on {engine.device} in {engine.precision}")
    for size, taken in seconds.items():
        mark = "largest batch in use" if size == service_batch_size else ""
        table.add_row(str(size), f"{1000 * taken:.2f}", f"{size / taken:.0f}", mark)
    Console().print(table)


def measure_service(url: str, api_key: str | None, seconds: float, concurrency: int) -> None:
    """Prints the rate and latency of a service in a closed loop: each client sends again when it has its answer."""
    latencies, errors, elapsed = asyncio.run(_load(url, api_key, seconds, concurrency))
    table = Table(
        "pictures/s", "p50 ms", "p95 ms", "p99 ms", "answers", "errors", title=f"{url}, {concurrency} at once"
    )
    percentiles = np.percentile(latencies, (50, 95, 99)) if latencies else np.full(3, np.nan)
    figures = (f"{1000 * value:.1f}" for value in percentiles)
    table.add_row(f"{len(latencies) / elapsed:.0f}", *figures, str(len(latencies)), str(errors))
    Console().print(table)


async def _load(url: str, api_key: str | None, seconds: float, concurrency: int) -> tuple[list[float], int, float]:
    """Returns the latency of each answer in seconds, the number of errors, and the elapsed seconds."""
    pictures, latencies, errors = _pictures(), list[float](), 0

    async def send(client: AsyncClient, i: int) -> None:
        nonlocal errors
        while time.perf_counter() < end:
            sent, i = time.perf_counter(), (i + 1) % len(pictures)
            try:
                await client.predict(pictures[i])
                latencies.append(time.perf_counter() - sent)
            except ServiceError:
                errors += 1

    async with AsyncClient(url, api_key=api_key, attempts=1) as client:
        await client.predict(pictures[0])  # fails early if the service cannot be reached
        started = time.perf_counter()
        end = started + seconds
        await asyncio.gather(*(send(client, i) for i in range(concurrency)))
        return latencies, errors, time.perf_counter() - started


def _pictures() -> list[bytes]:
    """The shipped checkpoint's golden pictures as PNG files."""
    images = (Image.fromarray(pixels) for pixels in Checkpoint.load(SHIPPED).golden.pixels)
    return [encode(image.resize((PICTURE_SIDE, PICTURE_SIDE))) for image in images]
