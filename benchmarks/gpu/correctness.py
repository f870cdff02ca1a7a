"""Stage 1 of deploy/gpu_check.py: checks that the engine's answers are correct on this device.

Checks the golden answers of the shipped checkpoint in each precision, batches of many sizes, the accuracy on the test
set, a card that runs out of memory, and the tests marked `cuda`.
"""

import subprocess
import sys

import numpy as np
import torch

from app.inference.engines.base import Engine
from app.inference.engines.choose import golden_error
from app.inference.engines.cuda import MAX_GRAPH_BATCH, PRECISIONS, CapturedBatch, CudaEngine, build_buckets
from app.inference.engines.pytorch import TorchEngine
from benchmarks.gpu.reporting import Options, parse_options, report
from model import data
from model.checkpoint import SHIPPED, Checkpoint
from model.labels import probabilities
from model.predict import serving_pixels

BATCH_SIZES = (1, 2, 3, 7, 64, 255, 256, 257, 1000)
TOLERANCE = 0.03
"""Largest allowed difference of a probability between a batch and single pictures, in half precision."""

LOWEST_ACCURACY = 0.92
"""On the test set. The margin below the checkpoint's own figure allows for chance in 500 pictures."""

FREE_BYTES = 256 << 20
"""What the test of full memory leaves free."""


def main() -> int:
    options = parse_options(__doc__ or "")
    checkpoint = Checkpoint.load(SHIPPED)
    engine: Engine = CudaEngine(checkpoint, "cuda") if options.device == "cuda" else TorchEngine(checkpoint, "cpu")
    report("engine", f"{engine.name} on the {engine.device}, {engine.precision}")
    off = golden_error(engine, checkpoint)
    report("golden answers, largest error", off, off <= engine.tolerance)
    if isinstance(engine, CudaEngine):
        report(
            "golden answers, by precision", engine.errors, any(e <= engine.tolerance for e in engine.errors.values())
        )
        report("CUDA graphs captured", engine.uses_cuda_graphs, engine.uses_cuda_graphs)
    _check_batches(engine, checkpoint, BATCH_SIZES[:5] if options.small else BATCH_SIZES)
    _check_accuracy(engine, checkpoint, 500 if options.small else 10_000)
    if options.device == "cuda":
        _check_full_memory(checkpoint)
    _run_cuda_tests(options)
    return 0


def _check_batches(engine: Engine, checkpoint: Checkpoint, sizes: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).permutation(np.resize(checkpoint.golden.pixels, (max(sizes), 96, 96)))
    alone = _probabilities(engine, checkpoint, np.concatenate([engine(p[None]).logits for p in pixels]))
    for size in sizes:
        together = _probabilities(engine, checkpoint, engine(pixels[:size]).logits)
        off = float(np.abs(together - alone[:size]).max())
        report(f"batch of {size}, largest difference to one by one", off, off <= TOLERANCE)


def _probabilities(
    engine: Engine, checkpoint: Checkpoint, logits: "np.typing.NDArray[np.float32]"
) -> "np.typing.NDArray[np.float32]":
    return probabilities(logits, engine.temperature, checkpoint.metadata.smoothing)


def _check_accuracy(engine: Engine, checkpoint: Checkpoint, count: int) -> None:
    test = data.load().test
    pixels, labels = serving_pixels(test.pixels[:count]).numpy(), test.labels[:count].numpy()
    parts = [
        engine(pixels[start : start + MAX_GRAPH_BATCH]).logits.argmax(1) for start in range(0, count, MAX_GRAPH_BATCH)
    ]
    share = float((np.concatenate(parts) == labels).mean())
    report(f"accuracy on {count} test pictures", share, share >= LOWEST_ACCURACY)
    report("accuracy in the checkpoint, single precision", checkpoint.metadata.accuracy.get("test"))


def _check_full_memory(checkpoint: Checkpoint) -> None:
    """Fills the card's memory. The largest batch must shrink, and the answers must stay correct."""
    pixels = np.resize(checkpoint.golden.pixels, (2 * MAX_GRAPH_BATCH, 96, 96))
    dtype = next(iter(PRECISIONS.values()))
    expected = build_buckets(checkpoint, "cuda", dtype, CapturedBatch, MAX_GRAPH_BATCH)(pixels).logits
    buckets = build_buckets(checkpoint, "cuda", dtype, CapturedBatch, MAX_GRAPH_BATCH)
    torch.cuda.empty_cache()
    taken = torch.empty(max(1, torch.cuda.mem_get_info()[0] - FREE_BYTES), dtype=torch.uint8, device="cuda")
    try:
        found = buckets(pixels).logits
    finally:
        del taken
    off = float(np.abs(found - expected).max())
    report("out of memory: halvings", buckets.halvings, buckets.halvings > 0)
    report("out of memory: largest batch left", buckets.largest)
    report("out of memory: largest difference of a logit", off, off <= 0.5)


def _run_cuda_tests(options: Options) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "cuda",
        "-p",
        "no:cacheprovider",
        "tests/inference/test_engines.py",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    report("pytest -m cuda", (result.stdout.strip().splitlines() or [result.stderr[-300:]])[-1], result.returncode == 0)


if __name__ == "__main__":
    sys.exit(main())
