"""Engine for NVIDIA GPUs: fused Inception branches, channels_last, half precision, CUDA graphs."""

import logging
import time

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

MAX_GRAPH_BATCH = 256
"""Pictures in the largest CUDA graph. Larger batches are split, and one part is copied while another is computed."""

PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


class CapturedBatch(FixedBatch):
    """A CUDA graph between pinned buffers, on its lane's stream: one kernel launch instead of a hundred."""

    def __init__(self, graph: nn.Module, size: int, lane: int) -> None:
        super().__init__(graph, size, lane)
        self.pixels = torch.zeros_like(self.staging, device=self.device)
        self.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):  # cuDNN chooses its algorithms; memory runs out here, not in the capture
                graph(self.pixels)
        self.stream.synchronize()
        self.cuda_graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile, e.g. to measure its memory.
        with torch.cuda.graph(self.cuda_graph, stream=self.stream, capture_error_mode="thread_local"):
            self.computed: tuple[Tensor, ...] = graph(self.pixels)
        self.outputs = tuple(torch.empty(output.shape, pin_memory=True) for output in self.computed)

    def _run(self) -> tuple[Tensor, ...]:
        with torch.cuda.stream(self.stream):
            self.pixels.copy_(self.staging, non_blocking=True)
            self.cuda_graph.replay()
            for output, computed in zip(self.outputs, self.computed, strict=True):
                output.copy_(computed, non_blocking=True)
            self.done.record()
        return self.outputs

    def _wait(self) -> None:
        self.done.synchronize()


class CudaEngine:
    """device: auto or cuda. Computes in fp16 or bf16: the faster one that gives the golden answers.

    Runs without CUDA graphs, with a warning, if they cannot be captured.
    Raises StartError if there is no usable GPU or neither precision gives the golden answers.
    """

    name = "cuda"
    device = "cuda"
    lanes = 1  # Buckets overlaps copying and computing
    ahead = 0
    tolerance = 0.03  # from the golden answers in single precision

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        if device == "cpu":
            raise StartError("GOOGLENET_ENGINE=cuda runs on a GPU; GOOGLENET_DEVICE=cpu asks for a CPU")
        if not torch.cuda.is_available():
            raise StartError("GOOGLENET_ENGINE=cuda: torch finds no usable GPU")
        self.golden = checkpoint.golden.probabilities
        self.temperature, self.threshold = checkpoint.metadata.temperature, checkpoint.metadata.threshold
        torch.backends.cudnn.benchmark = True  # pays for a few fixed sizes
        self.uses_cuda_graphs = True
        """False if they could not be captured."""
        self.errors: dict[str, float] = {}
        """The largest error of a golden probability, by precision."""
        try:
            try:
                self.precision, self.buckets = self._fastest(checkpoint, CapturedBatch)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                log.warning("no CUDA graphs, so small batches are slower: %s", str(error).splitlines()[0])
                self.uses_cuda_graphs = False
                self.precision, self.buckets = self._fastest(checkpoint, FixedBatch)
        except RuntimeError as error:
            raise StartError(f"the GPU cannot be used ({str(error).splitlines()[0]})") from error

    def _fastest(self, checkpoint: Checkpoint, batch: type[FixedBatch]) -> tuple[str, Buckets]:
        seconds: dict[str, float] = {}
        built: dict[str, Buckets] = {}
        for precision, dtype in PRECISIONS.items():
            self.precision, self.buckets = precision, build_buckets(checkpoint, "cuda", dtype, batch, MAX_GRAPH_BATCH)
            self.errors[precision] = golden_error(self, checkpoint)
            if self.errors[precision] <= self.tolerance:
                built[precision] = self.buckets
                seconds[precision] = _seconds(self.buckets, checkpoint.golden.pixels)
        if not built:
            raise StartError(f"the GPU is off on the golden pictures: {self.errors}, {self.tolerance} is allowed")
        fastest = min(seconds, key=lambda precision: seconds[precision])
        built[fastest].prepare()
        return fastest, built[fastest]

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        return self.buckets(pixels)

    def memory(self) -> DeviceMemory:
        return cuda_memory()


def build_buckets(
    checkpoint: Checkpoint, device: str, dtype: torch.dtype, batch: type[FixedBatch], largest: int
) -> Buckets:
    """The checkpoint's network on a device in `dtype`, in batches of the class `batch`. Raises StartError."""
    network = fuse_branches(load_network(checkpoint)).to(device, dtype)
    network = network.to(memory_format=torch.channels_last)
    graph = InferenceGraph(network, checkpoint.metadata.mean, checkpoint.metadata.std).eval().to(device)

    def make(size: int, lane: int) -> FixedBatch:
        with torch.inference_mode():
            return batch(graph, size, lane)

    return Buckets(make, largest)


def _seconds(buckets: Buckets, pixels: NDArray[np.uint8]) -> float:
    """Seconds for a batch of 64, the best of five after one to warm up."""
    batch = np.resize(pixels, (64, *pixels.shape[1:]))
    taken = []
    for _ in range(6):
        started = time.perf_counter()
        buckets(batch)
        taken.append(time.perf_counter() - started)
    return min(taken[1:])
