"""OpenVINO on the CPU, without its telemetry: importing `openvino`, or `nncf` before this, would send usage events."""

import sys
from collections.abc import Collection
from pathlib import Path

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # both then take their own empty stand-ins

import openvino as ov  # noqa: E402

__all__ = ["best_precision", "compile_graph", "ov"]


def compile_graph(
    path: Path, precision: str, threads: int, streams: int = 1, batch: int | None = None
) -> ov.CompiledModel:
    """The graph, ready to run on the CPU in f32 or bf16; what was quantised runs in int8 with either.

    One stream computes a batch with all the threads; several, which share them, a batch each. A graph for batches of
    one size alone is faster than one for any, which prepares itself anew whenever the size changes.
    """
    core = ov.Core()
    graph = core.read_model(path)
    if batch is not None:
        graph.reshape([batch, *graph.input().partial_shape[1:]])
    hints = {
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": streams,
        "ENABLE_CPU_PINNING": False,  # the cores are not this process's alone
    }
    return core.compile_model(graph, "CPU", hints)


def best_precision(offered: Collection[str] = ("f32", "bf16")) -> str:
    """bf16 where it is offered and the CPU computes in it, f32 elsewhere."""
    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "bf16" in offered and "BF16" in capabilities else "f32"
