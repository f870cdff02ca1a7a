"""Runs batches of any size in a few fixed sizes, by padding and splitting; halves the largest if memory runs out."""

import logging
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.inference.engines.base import Outputs
from model.preprocess import SIZE

log = logging.getLogger(__name__)

Collect = Callable[[], tuple[NDArray[np.float32], ...]]
"""Waits for a submitted batch and returns its outputs without the padding."""


class FixedBatch:
    """The network for exactly `size` pictures, one batch at a time; smaller batches are padded."""

    def __init__(self, graph: nn.Module, size: int, lane: int) -> None:
        self.graph, self.size, self.lane = graph, size, lane
        self.device = next(graph.parameters()).device
        self.staging = torch.zeros(size, SIZE, SIZE, dtype=torch.uint8, pin_memory=self.device.type == "cuda")

    def submit(self, pixels: NDArray[np.uint8]) -> Collect:
        """Starts to compute uint8 [k,96,96], 1 ≤ k ≤ size. The previous batch must have been collected."""
        count = len(pixels)
        np.copyto(self.staging[:count].numpy(), pixels)
        self.staging[count:].zero_()
        outputs = self._run()

        def collect() -> tuple[NDArray[np.float32], ...]:
            self._wait()
            return tuple(output[:count].numpy().copy() for output in outputs)

        return collect

    def _run(self) -> tuple[Tensor, ...]:
        return tuple(output.cpu() for output in self.graph(self.staging.to(self.device)))

    def _wait(self) -> None:
        """Waits until the outputs are there."""


class Buckets:
    """uint8 [n,96,96] → Outputs for any n ≥ 1, by batches of 1, 2, 4 … `largest` pictures.

    `make(size, lane)` builds a FixedBatch. The parts of a batch that is split alternate between two lanes: one part is
    copied while the other is computed.
    """

    def __init__(self, make: Callable[[int, int], FixedBatch], largest: int) -> None:
        self.largest = largest
        self.halvings = 0
        self._make = make
        self._batches: dict[tuple[int, int], FixedBatch] = {}

    def prepare(self) -> None:
        """Builds every size, the largest one for both lanes."""
        size = 1
        while size <= self.largest:
            try:
                self.batch(size, lane=0)
                if 2 * size > self.largest:
                    self.batch(size, lane=1)
            except torch.OutOfMemoryError as error:
                self._halve(size, error)
            size *= 2

    @torch.inference_mode()
    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """Raises torch.OutOfMemoryError if memory is too small for one picture."""
        parts: list[tuple[NDArray[np.float32], ...]] = []
        running: deque[Collect] = deque()
        start, lane = 0, 0
        while start < len(pixels):
            size = self._bucket_size(len(pixels) - start)
            try:
                running.append(self.batch(size, lane).submit(pixels[start : start + size]))
            except torch.OutOfMemoryError as error:
                parts += _collect_until(running, leave=0)
                self._halve(size, error)
                continue
            start, lane = start + size, 1 - lane
            parts += _collect_until(running, leave=1)
        parts += _collect_until(running, leave=0)
        return Outputs(*(np.concatenate(output) for output in zip(*parts, strict=True)))

    def _bucket_size(self, count: int) -> int:
        """The smallest size that holds `count` pictures, or the largest size."""
        return min(self.largest, 1 << (count - 1).bit_length())

    def batch(self, size: int, lane: int) -> FixedBatch:
        """The FixedBatch of this size for lane 0 or 1. Raises torch.OutOfMemoryError."""
        key = (size, lane)
        if key not in self._batches:
            self._batches[key] = self._make(size, lane)
        return self._batches[key]

    def _halve(self, size: int, error: torch.OutOfMemoryError) -> None:
        if size == 1:
            raise error
        self.largest, self.halvings = size // 2, self.halvings + 1
        log.warning("out of memory for a batch of %d: %d is the largest from now on", size, self.largest)
        self._batches = {key: batch for key, batch in self._batches.items() if key[0] <= self.largest}
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _collect_until(running: "deque[Collect]", leave: int) -> Iterator[tuple[NDArray[np.float32], ...]]:
    while len(running) > leave:
        yield running.popleft()()
