"""OpenVINO on the CPU: compiles graphs, with telemetry switched off.

Import OpenVINO from here. `openvino` and `nncf` would send usage events if they were imported before this module.
"""

import sys
from collections.abc import Collection
from pathlib import Path

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # both fall back to stubs that send nothing

import openvino as ov  # noqa: E402

__all__ = ["best_precision", "compile_graph", "ov"]


def compile_graph(
    path: Path, precision: str, threads: int, streams: int = 1, batch: int | None = None
) -> ov.CompiledModel:
    """Compiles a graph for the CPU in f32 or bf16; its quantised layers run in int8 with either.

    One stream computes a batch with all threads. Several streams share the threads and compute one batch each. A graph
    for one fixed batch size is faster: with a free size, OpenVINO prepares it again whenever the size changes.
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
        "ENABLE_CPU_PINNING": False,  # other processes may use the same cores
    }
    return core.compile_model(graph, "CPU", hints)


def best_precision(offered: Collection[str] = ("f32", "bf16")) -> str:
    """bf16 if it is offered and the CPU computes in it, otherwise f32."""
    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "bf16" in offered and "BF16" in capabilities else "f32"
