"""Stage 2 of deploy/gpu_check.py: compares the engine's speed with eager PyTorch, torch.compile and TensorRT.

All run the same checkpoint on the same pictures, from uint8 to logits in host memory, in interleaved rounds.
"""

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from app.inference.engines.base import Engine
from app.inference.engines.cuda import CapturedBatch, CudaEngine
from app.inference.engines.pytorch import TorchEngine, load_network
from benchmarks.engines import operations_per_picture
from benchmarks.gpu.reporting import parse_options, report
from benchmarks.harness.machine import describe, multiply_rate
from model.checkpoint import SHIPPED, Checkpoint
from model.googlenet import InferenceGraph

BATCH_SIZES = (1, 256, 64, 8, 512)
"""The most important first, in case time runs out."""

ROUNDS, SECONDS = 5, 0.2
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

Network = Callable[[NDArray[np.uint8]], object]


def main() -> int:
    options = parse_options(__doc__ or "")
    report("machine", describe())
    checkpoint = Checkpoint.load(SHIPPED)
    engine: Engine = CudaEngine(checkpoint, "cuda") if options.device == "cuda" else TorchEngine(checkpoint, "cpu")
    sizes, rounds = (BATCH_SIZES[:2], 2) if options.small else (BATCH_SIZES, ROUNDS)
    if isinstance(engine, CudaEngine):
        _report_copy_times(engine, checkpoint)
    rate = multiply_rate(engine.device, engine.precision)
    eager: dict[str, Network] = {"engine": engine, "eager": _network(checkpoint, engine, None)}
    for size in sizes:
        best = _compare(eager, _batch(checkpoint, size), rounds)
        if rate:
            share = best * operations_per_picture(checkpoint) / rate
            report(f"batch of {size}: engine's share of the matrix rate", share)
    backends = {"torch.compile": "inductor"}
    if importlib.util.find_spec("torch_tensorrt"):
        backends["TensorRT"] = "torch_tensorrt"
    for size in sizes:  # last: compiling can take all the time that is left
        for name, backend in backends.items():
            compiled = _network(checkpoint, engine, backend)
            _compare({"engine": engine, name: compiled}, _batch(checkpoint, size), rounds)
    return 0


def _batch(checkpoint: Checkpoint, size: int) -> NDArray[np.uint8]:
    return np.resize(checkpoint.golden.pixels, (size, 96, 96))


def _network(checkpoint: Checkpoint, engine: Engine, backend: str | None) -> Network:
    """The network in the engine's precision, compiled by `backend`, or eager if it is None."""
    dtype = DTYPES[engine.precision]
    network = load_network(checkpoint).to(engine.device, dtype).to(memory_format=torch.channels_last)
    graph = InferenceGraph(network, checkpoint.metadata.mean, checkpoint.metadata.std).eval().to(engine.device)
    mode = "max-autotune" if backend == "inductor" and engine.device == "cuda" else None
    run = torch.compile(graph, backend=backend, mode=mode, dynamic=False) if backend else graph

    @torch.inference_mode()
    def run_to_host(pixels: NDArray[np.uint8]) -> object:
        return [output.cpu() for output in run(torch.from_numpy(pixels).to(engine.device))]

    return run_to_host


def _compare(networks: dict[str, Network], pixels: NDArray[np.uint8], rounds: int) -> float:
    """Reports each network's rate for this batch. Returns the first one's median, in pictures per second."""
    rates: dict[str, list[float]] = {}
    for name, network in networks.items():
        try:
            network(pixels)  # compiles
            rates[name] = []
        except Exception as error:  # such as a missing compiler
            report(f"batch of {len(pixels)}: {name} cannot run", str(error).strip().splitlines()[0][:200])
    for _ in range(rounds):
        for name in rates:
            rates[name].append(_rate(networks[name], pixels))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    first = next(iter(networks))
    for name, found in rates.items():
        value = {"median": medians[name], "low": min(found), "high": max(found), "rounds": rounds}
        report(f"batch of {len(pixels)}: {name}, pictures/s", value)
        if name != first:
            ratio = statistics.median(a / b for a, b in zip(rates[first], found, strict=True))
            report(f"batch of {len(pixels)}: {first} / {name}", ratio)
    return medians[first]


def _rate(network: Network, pixels: NDArray[np.uint8]) -> float:
    network(pixels)
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS or count == 0:
        network(pixels)
        count += 1
    return count * len(pixels) / elapsed


def _report_copy_times(engine: CudaEngine, checkpoint: Checkpoint) -> None:
    """Reports the median milliseconds on the card of copying in, the network and copying out, for one large batch."""
    batch = engine.buckets.batch(engine.buckets.largest, lane=0)
    if not isinstance(batch, CapturedBatch):
        return
    batch.submit(np.resize(checkpoint.golden.pixels, (batch.size, 96, 96)))()
    taken = [_copy_times(batch) for _ in range(20)]
    for name, values in zip(("copy in", "network", "copy out"), zip(*taken, strict=True), strict=True):
        report(f"batch of {batch.size}: {name}, ms", statistics.median(values))


@torch.inference_mode()
def _copy_times(batch: CapturedBatch) -> tuple[float, float, float]:
    """Milliseconds that the device takes to copy a batch in, to compute it and to copy its outputs out."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
    with torch.cuda.stream(batch.stream):
        marks[0].record()
        batch.pixels.copy_(batch.staging, non_blocking=True)
        marks[1].record()
        batch.cuda_graph.replay()
        marks[2].record()
        for output, computed in zip(batch.outputs, batch.computed, strict=True):
            output.copy_(computed, non_blocking=True)
        marks[3].record()
    marks[3].synchronize()
    copy_in, network, copy_out = (a.elapsed_time(b) for a, b in pairwise(marks))
    return copy_in, network, copy_out


if __name__ == "__main__":
    sys.exit(main())
