"""Measures how long batches take, and finds the batch size worth using."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.inference.engines.base import Engine, lanes

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
"""Among which the largest in use is chosen …"""

START = 16
"""… beginning here, upwards while they are quick and that pays, downwards only if these take too long."""

LONGEST_BATCH, QUICK = 0.125, 0.03
"""Seconds, all lanes busy: what takes longer is not chosen, however well it does; nothing larger than what takes longer
than the second is tried, for it would gain little and delay the start."""

USEFUL = 0.9
"""The batch size in use is the smallest that reaches this share of the best rate: larger ones only add waiting."""

RUNS, ENOUGH = (2, 4), 0.03
"""Of each size, at least and at most, and seconds after which no more than the least are run."""


def warm_up(engine: Engine, pixels: NDArray[np.uint8]) -> dict[int, float]:
    """Seconds per batch, by those batch sizes that come into question, on `pixels` [k,96,96] repeated."""
    engine(pixels[:1])
    count, i = lanes(engine), BATCH_SIZES.index(START)
    seconds = {START: seconds_per_batch(engine, pixels, START)}
    for smaller, size in pairwise(BATCH_SIZES[i:]):
        if useful_batch_size(seconds) < smaller or count * seconds[smaller] > QUICK:
            break
        seconds[size] = seconds_per_batch(engine, pixels, size)
    for larger, size in pairwise(BATCH_SIZES[i::-1]):
        if count * seconds[larger] <= LONGEST_BATCH:
            break
        taken = seconds_per_batch(engine, pixels, size)
        if taken > USEFUL * seconds[larger]:  # it is not for the pictures that it takes so long
            break
        seconds = {size: taken}
    return seconds


def useful_batch_size(seconds: dict[int, float]) -> int:
    """The smallest batch size of at least 90 % of the best rate, by seconds per batch."""
    rates = {size: size / taken for size, taken in seconds.items()}
    return min(size for size, rate in rates.items() if rate >= USEFUL * max(rates.values()))


def seconds_per_batch(engine: Callable[[NDArray[np.uint8]], object], pixels: NDArray[np.uint8], size: int) -> float:
    """The best of some runs, on `pixels` [k,96,96] repeated.

    All lanes run side by side, so that n batches in t seconds make t/n seconds per batch.
    """
    count, times = lanes(engine), list[float]()
    batches = count * [np.resize(pixels, (size, *pixels.shape[1:]))]
    with ThreadPoolExecutor(count) as threads:
        while len(times) < RUNS[0] or (len(times) < RUNS[1] and sum(times) < ENOUGH):
            started = time.perf_counter()
            list(threads.map(engine, batches))
            times.append(time.perf_counter() - started)
    return min(times) / count
