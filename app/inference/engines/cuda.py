"""The network on an NVIDIA GPU: merged branches, channels_last, half precision, CUDA graphs."""

import logging
import time
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.errors import StartError
from app.inference.engines.base import DeviceMemory, Outputs
from app.inference.engines.batch_buckets import Buckets, FixedBatch
from app.inference.engines.choose import golden_error
from app.inference.engines.pytorch import cuda_memory, load_network
from model.checkpoint import Checkpoint
from model.fused_googlenet import fuse_branches
from model.googlenet import InferenceGraph

log = logging.getLogger(__name__)

LARGEST = 256
"""Pictures in one CUDA graph; larger batches are split, and the next part is copied while one is computed."""

PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


class CapturedBatch(FixedBatch):
    """A CUDA graph: one launch instead of a hundred, between pinned buffers, on its lane's own stream."""

    def __init__(self, graph: nn.Module, size: int, lane: int) -> None:
        super().__init__(graph, size, lane)
        self.pixels = torch.zeros_like(self.staging, device=self.device)
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):  # cuDNN chooses its algorithms, and memory runs out here rather than in the capture
                graph(self.pixels)
        self.stream.synchronize()
        self.captured = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile, for instance to measure its memory.
        with torch.cuda.graph(self.captured, stream=self.stream, capture_error_mode="thread_local"):
            self.computed: tuple[Tensor, ...] = graph(self.pixels)
        self.answers = tuple(torch.empty(output.shape, pin_memory=True) for output in self.computed)

    def _run(self) -> tuple[Tensor, ...]:
        with torch.cuda.stream(self.stream):
            self.pixels.copy_(self.staging, non_blocking=True)
            self.captured.replay()
            for answer, output in zip(self.answers, self.computed, strict=True):
                answer.copy_(output, non_blocking=True)
            self.done.record()
        return self.answers

    def _wait(self) -> None:
        self.done.synchronize()

    @torch.inference_mode()
    def milliseconds(self) -> tuple[float, float, float]:
        """How long the device takes to copy a batch in, to compute it and to copy its answers out."""
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(4)]  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self.stream):
            marks[0].record()
            self.pixels.copy_(self.staging, non_blocking=True)
            marks[1].record()
            self.captured.replay()
            marks[2].record()
            for answer, output in zip(self.answers, self.computed, strict=True):
                answer.copy_(output, non_blocking=True)
            marks[3].record()
        marks[3].synchronize()
        copy_in, network, copy_out = (a.elapsed_time(b) for a, b in pairwise(marks))
        return copy_in, network, copy_out


class CudaEngine:
    """device: auto or cuda. Of fp16 and bf16 the faster one, measured at start, whose golden answers are right.

    Without CUDA graphs, with a warning, where they cannot be captured.
    Raises StartError if there is no usable GPU or neither precision gives the golden answers.
    """

    name = "cuda"
    device = "cuda"
    lanes = 1  # it overlaps copying and computing by itself
    ahead = 0
    tolerance = 0.03  # to the checkpoint's golden answers, which are in single precision

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        if device == "cpu":
            raise StartError("GOOGLENET_ENGINE=cuda runs on a GPU; GOOGLENET_DEVICE=cpu wants another")
        if not torch.cuda.is_available():
            raise StartError("GOOGLENET_ENGINE=cuda: torch finds no usable GPU")
        self.golden = checkpoint.golden.probabilities
        self.temperature, self.threshold = checkpoint.metadata.temperature, checkpoint.metadata.threshold
        torch.backends.cudnn.benchmark = True  # few sizes, each used for long
        self.captured = True
        """Whether CUDA graphs serve."""
        self.errors: dict[str, float] = {}
        """By precision, the largest error of a golden picture's probability."""
        try:
            try:
                self.precision, self._buckets = self._fastest(checkpoint, CapturedBatch)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                log.warning("no CUDA graphs, so small batches are slower: %s", str(error).splitlines()[0])
                self.captured = False
                self.precision, self._buckets = self._fastest(checkpoint, FixedBatch)
        except RuntimeError as error:
            raise StartError(f"the GPU cannot be used ({str(error).splitlines()[0]})") from error

    def _fastest(self, checkpoint: Checkpoint, batch: type[FixedBatch]) -> tuple[str, Buckets]:
        seconds: dict[str, float] = {}
        built: dict[str, Buckets] = {}
        for precision, dtype in PRECISIONS.items():
            self.precision, self._buckets = precision, build(checkpoint, "cuda", dtype, batch, LARGEST)
            self.errors[precision] = golden_error(self, checkpoint)
            if self.errors[precision] <= self.tolerance:
                built[precision] = self._buckets
                seconds[precision] = _seconds(self._buckets, checkpoint.golden.pixels)
        if not built:
            raise StartError(f"the GPU is off on the golden pictures: {self.errors}, {self.tolerance} is allowed")
        fastest = min(seconds, key=lambda precision: seconds[precision])
        built[fastest].prepare()
        return fastest, built[fastest]

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        return self._buckets(pixels)

    def memory(self) -> DeviceMemory:
        return cuda_memory()

    def largest_batch(self) -> FixedBatch:
        """What computes the largest batch in use."""
        return self._buckets.batch(self._buckets.largest)


def build(checkpoint: Checkpoint, device: str, dtype: torch.dtype, batch: type[FixedBatch], largest: int) -> Buckets:
    """The checkpoint's network on a device, computing in `dtype`, by batches of a kind. Raises StartError."""
    network = fuse_branches(load_network(checkpoint)).to(device, dtype)
    network = network.to(memory_format=torch.channels_last)
    graph = InferenceGraph(network, checkpoint.metadata.mean, checkpoint.metadata.std).eval().to(device)

    def make(size: int, lane: int) -> FixedBatch:
        with torch.inference_mode():
            return batch(graph, size, lane)

    return Buckets(make, largest)


def _seconds(buckets: Buckets, pixels: NDArray[np.uint8]) -> float:
    """The best of five batches of 64."""
    batch = np.resize(pixels, (64, *pixels.shape[1:]))
    taken = []
    for _ in range(6):
        started = time.perf_counter()
        buckets(batch)
        taken.append(time.perf_counter() - started)
    return min(taken[1:])
