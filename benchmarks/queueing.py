"""How long a request waits: a queue whose server takes all that waits, up to a largest batch.

Arrivals are a Poisson process. A batch of n takes `setup + each·n` seconds and is taken as soon as the server is free,
without a timer: the batcher's rule. It is the model of Y. Inoue, "Queueing analysis of GPU-based inference servers with
dynamic batching: a closed-form characterization", Performance Evaluation 147 (2021), which bounds the mean; percentiles
are found here by running the queue itself. Behind a balancer that sends requests anywhere at random every replica is
such a queue, for a Poisson process so divided is several; one that asks who is least busy can only be better.
"""

from dataclasses import dataclass

import numpy as np

ARRIVALS = 30_000
STEPS = 14
"""Halvings in looking for a rate: to one part in sixteen thousand."""


@dataclass(frozen=True)
class Replica:
    """Seconds a batch and seconds a picture, and the largest batch."""

    setup: float
    each: float
    largest: int

    @classmethod
    def fitted(cls, alone: float, rate: float, largest: int) -> "Replica":
        """From two measurements: the seconds of a request that meets nobody, and requests a second when all is full."""
        each = max(0.0, (largest / rate - alone) / (largest - 1))
        return cls(max(0.0, alone - each), each, largest)

    @property
    def capacity(self) -> float:
        """Requests a second that it cannot exceed: with the largest batch, which it always has by then."""
        return self.largest / (self.setup + self.each * self.largest)

    def latencies(self, rate: float, seed: int = 0) -> np.ndarray:
        """Seconds of each request, [n], for this many a second; the first tenth, when it was empty, left out."""
        arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, ARRIVALS))
        ended = np.empty(ARRIVALS)
        at, free = 0, 0.0
        while at < ARRIVALS:
            begun = max(free, arrivals[at])
            waiting = int(np.searchsorted(arrivals, begun, "right")) - at
            taken = min(max(1, waiting), self.largest)
            free = begun + self.setup + self.each * taken
            ended[at : at + taken] = free
            at += taken
        return (ended - arrivals)[ARRIVALS // 10 :]

    def sustains(self, limit: float, quantile: float = 0.99) -> float:
        """The most requests a second of which this share is answered within `limit` seconds; 0 if it never is."""
        low, high = 0.0, self.capacity
        for _ in range(STEPS):
            rate = (low + high) / 2
            low, high = (rate, high) if np.quantile(self.latencies(rate), quantile) <= limit else (low, rate)
        return low
