"""Times the engine with several batch sizes at the start, and chooses the largest batch to serve with.

It is the smallest size that reaches 90 % of the best rate.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.inference.engines.base import Engine, lanes, max_batch

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""The batch sizes to choose from."""

FIRST_SIZE = 16
"""This size is measured first, or the largest that the engine computes in one piece. Larger ones follow while their
rate is better and they are quick. Smaller ones follow if it takes too long."""

MAX_BATCH_SECONDS = 0.125
"""A batch that takes longer with all lanes busy is not chosen, whatever its rate is."""

QUICK_BATCH_SECONDS = 0.03
"""After a batch that takes longer with all lanes busy, no larger one is measured: it would delay the start."""

MIN_RATE_SHARE = 0.9
"""The smallest batch size with this share of the best rate is used, because larger batches wait for longer."""

MIN_RUNS, MAX_RUNS, ENOUGH_SECONDS = 2, 4, 0.03
"""Runs of each size; after ENOUGH_SECONDS no more than MIN_RUNS."""


def warm_up(engine: Engine, pixels: NDArray[np.uint8]) -> dict[int, float]:
    """Measures batches of `pixels` [k,96,96], repeated. Returns seconds per batch by batch size."""
    engine(pixels[:1])
    sizes = [size for size in BATCH_SIZES if size <= max_batch(engine)] or [1]
    count, first = lanes(engine), min(FIRST_SIZE, sizes[-1])
    seconds = {first: seconds_per_batch(engine, pixels, first)}
    for smaller, size in pairwise(sizes[sizes.index(first) :]):
        if useful_batch_size(seconds) < smaller or count * seconds[smaller] > QUICK_BATCH_SECONDS:
            break
        seconds[size] = seconds_per_batch(engine, pixels, size)
    for larger, size in pairwise(sizes[sizes.index(first) :: -1]):
        if count * seconds[larger] <= MAX_BATCH_SECONDS:
            break
        taken = seconds_per_batch(engine, pixels, size)
        if taken > MIN_RATE_SHARE * seconds[larger]:  # most of the time does not depend on the number of pictures
            break
        seconds = {size: taken}
    return seconds


def useful_batch_size(seconds: dict[int, float]) -> int:
    """The smallest batch size with at least 90 % of the best rate, from seconds per batch by batch size."""
    rates = {size: size / taken for size, taken in seconds.items()}
    return min(size for size, rate in rates.items() if rate >= MIN_RATE_SHARE * max(rates.values()))


def seconds_per_batch(engine: Callable[[NDArray[np.uint8]], object], pixels: NDArray[np.uint8], size: int) -> float:
    """The best of a few runs with batches of `pixels` [k,96,96], repeated.

    All lanes run side by side: n batches in t seconds make t/n seconds per batch.
    """
    count, times = lanes(engine), list[float]()
    batches = count * [np.resize(pixels, (size, *pixels.shape[1:]))]
    with ThreadPoolExecutor(count) as threads:
        while len(times) < MIN_RUNS or (len(times) < MAX_RUNS and sum(times) < ENOUGH_SECONDS):
            started = time.perf_counter()
            list(threads.map(engine, batches))
            times.append(time.perf_counter() - started)
    return min(times) / count
