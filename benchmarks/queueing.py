"""Queueing model of one replica: predicts the latency of requests for a given rate.

Arrivals are a Poisson process. As soon as the server is free, it takes all waiting requests, up to its largest batch,
without a timer, as the service's batcher does. A batch of n takes `batch_seconds + n · picture_seconds`. This is the
model of Y. Inoue, "Queueing analysis of GPU-based inference servers with dynamic batching: a closed-form
characterization", Performance Evaluation 147 (2021). The paper bounds the mean; percentiles are found here by
simulation. Each replica behind a load balancer that picks at random is such a queue: a Poisson process divided at
random is several Poisson processes. A balancer that picks the least busy replica does better.
"""

from dataclasses import dataclass

import numpy as np

SIMULATED_ARRIVALS = 30_000
BISECTION_STEPS = 14
"""Finds a rate to one part in sixteen thousand."""


@dataclass(frozen=True)
class Replica:
    """A batch of n requests takes `batch_seconds + n * picture_seconds`; n is at most `largest_batch`."""

    batch_seconds: float
    picture_seconds: float
    largest_batch: int

    @classmethod
    def from_measurements(cls, alone: float, full_rate: float, largest_batch: int) -> "Replica":
        """Fits the model: `alone` is seconds of a request alone, `full_rate` is requests per second in full batches."""
        picture_seconds = max(0.0, (largest_batch / full_rate - alone) / (largest_batch - 1))
        return cls(max(0.0, alone - picture_seconds), picture_seconds, largest_batch)

    @property
    def capacity(self) -> float:
        """Most requests per second: the rate with only full batches."""
        return self.largest_batch / (self.batch_seconds + self.picture_seconds * self.largest_batch)

    def latencies(self, rate: float, seed: int = 0) -> np.ndarray:
        """Simulates `rate` requests per second. Returns seconds per request, [n], without the first tenth (warm-up)."""
        arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, SIMULATED_ARRIVALS))
        finished = np.empty(SIMULATED_ARRIVALS)
        first, free = 0, 0.0
        while first < SIMULATED_ARRIVALS:
            start = max(free, arrivals[first])
            waiting = int(np.searchsorted(arrivals, start, "right")) - first
            size = min(max(1, waiting), self.largest_batch)
            free = start + self.batch_seconds + self.picture_seconds * size
            finished[first : first + size] = free
            first += size
        return (finished - arrivals)[SIMULATED_ARRIVALS // 10 :]

    def sustained_rate(self, limit: float, quantile: float = 0.99) -> float:
        """The highest rate at which this share of requests is answered within `limit` seconds; 0 if there is none."""
        low, high = 0.0, self.capacity
        for _ in range(BISECTION_STEPS):
            rate = (low + high) / 2
            low, high = (rate, high) if np.quantile(self.latencies(rate), quantile) <= limit else (low, rate)
        return low
