"""Queueing model of one replica: predicts the latency of requests for a given rate.

Arrivals are a Poisson process. As soon as the server is free, it takes all waiting requests, up to its largest batch,
without a timer, as the service's batcher does. A batch of n takes `setup + each·n` seconds. This is the model of
Y. Inoue, "Queueing analysis of GPU-based inference servers with dynamic batching: a closed-form characterization",
Performance Evaluation 147 (2021). The paper bounds the mean; percentiles are found here by simulation. Each replica
behind a load balancer that picks at random is such a queue: a Poisson process divided at random is several Poisson
processes. A balancer that picks the least busy replica does better.
"""

from dataclasses import dataclass

import numpy as np

SIMULATED_ARRIVALS = 30_000
BISECTION_STEPS = 14
"""Finds a rate to one part in sixteen thousand."""


@dataclass(frozen=True)
class Replica:
    """A batch of n requests takes `setup + each * n` seconds; n is at most `largest`."""

    setup: float
    each: float
    largest: int

    @classmethod
    def fitted(cls, alone: float, rate: float, largest: int) -> "Replica":
        """Fits the model to the seconds of a request alone and the requests per second with full batches."""
        each = max(0.0, (largest / rate - alone) / (largest - 1))
        return cls(max(0.0, alone - each), each, largest)

    @property
    def capacity(self) -> float:
        """Most requests per second: the rate with only full batches."""
        return self.largest / (self.setup + self.each * self.largest)

    def latencies(self, rate: float, seed: int = 0) -> np.ndarray:
        """Simulates `rate` requests per second. Returns seconds per request, [n], without the first tenth (warm-up)."""
        arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, SIMULATED_ARRIVALS))
        ended = np.empty(SIMULATED_ARRIVALS)
        at, free = 0, 0.0
        while at < SIMULATED_ARRIVALS:
            start = max(free, arrivals[at])
            waiting = int(np.searchsorted(arrivals, start, "right")) - at
            size = min(max(1, waiting), self.largest)
            free = start + self.setup + self.each * size
            ended[at : at + size] = free
            at += size
        return (ended - arrivals)[SIMULATED_ARRIVALS // 10 :]

    def sustains(self, limit: float, quantile: float = 0.99) -> float:
        """The highest rate at which this share of requests is answered within `limit` seconds; 0 if there is none."""
        low, high = 0.0, self.capacity
        for _ in range(BISECTION_STEPS):
            rate = (low + high) / 2
            low, high = (rate, high) if np.quantile(self.latencies(rate), quantile) <= limit else (low, rate)
        return low
