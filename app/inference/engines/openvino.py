"""Engines for the CPU: the exported graphs in OpenVINO, in floating point (bf16 or fp32) or int8. Need no torch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from app.errors import StartError
from app.inference.cpu import usable_cores
from app.inference.engines.base import MIN_PARALLEL_BATCH, Outputs
from model.checkpoint import Checkpoint, graph_file
from model.export.manifest import Export, ExportError
from model.export.openvino import best_precision, compile_graph, ov

MAX_BATCH = 16
"""Larger batches are computed in parts: they are no faster as a whole."""

FIXED_SIZES = (1, 4)
"""Batch sizes with a graph of their own, which is up to 10 % faster: those of one client and of a few."""


class OpenVinoEngine:
    """device: auto or cpu. Raises StartError if the export beside the checkpoint does not belong to it."""

    name: ClassVar = "openvino"
    device = "cpu"
    tolerance: ClassVar = 0.02
    max_batch = MAX_BATCH

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        if device == "cuda":
            raise StartError(f"GOOGLENET_ENGINE={self.name} runs on the CPU; GOOGLENET_DEVICE=cuda asks for a GPU")
        try:
            export = Export.load(checkpoint, self.name)
        except ExportError as error:
            raise StartError(str(error)) from error
        computed = best_precision(export.precisions)
        values = export.precisions[computed]
        self.precision = self._precision_name(computed)
        self.temperature, self.threshold = values.temperature, values.threshold
        self.golden = np.array(values.golden, np.float32)
        graph = graph_file(checkpoint.file, self.name)
        cores = self.lanes = self.ahead = usable_cores()
        shapes = (None, cores), (None, 1), *((size, 1) for size in FIXED_SIZES)
        with ThreadPoolExecutor(cores) as threads:
            graphs = threads.map(lambda shape: CompiledGraph(graph, computed, cores, *shape), shapes)
            self._one_core, self._all_cores, *fixed = graphs
        self._fixed = dict(zip(FIXED_SIZES, fixed, strict=True))

    def _precision_name(self, computed: str) -> str:
        return {"f32": "fp32"}.get(computed, computed)

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """A large batch runs on one core: waiting for other cores after every layer pays for a small one only."""
        if len(pixels) < MIN_PARALLEL_BATCH:
            return self._fixed.get(len(pixels), self._all_cores)(pixels)
        outputs = [self._one_core(pixels[start : start + MAX_BATCH]) for start in range(0, len(pixels), MAX_BATCH)]
        return outputs[0] if len(outputs) == 1 else Outputs(*map(np.concatenate, zip(*outputs, strict=True)))


class CompiledGraph:
    """A compiled graph for batches of any size, or of the size `batch`; `streams` batches run side by side."""

    def __init__(self, graph: Path, precision: str, threads: int, batch: int | None, streams: int) -> None:
        self.lanes = streams
        compiled = compile_graph(graph, precision, threads, streams, batch)
        self._requests: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(2 * streams):  # a core computes one while outputs are copied out of the other
            self._requests.put(compiled.create_infer_request())

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        if not pixels.flags.writeable:
            pixels = pixels.copy()  # OpenVINO's own copy would keep the whole request body in memory
        request = self._requests.get()
        try:
            request.infer([pixels], share_inputs=True)
            return Outputs(*(request.get_output_tensor(i).data.copy() for i in range(3)))
        finally:
            self._requests.put(request)


class OpenVinoInt8Engine(OpenVinoEngine):
    """The graph quantised to int8, with its head in single precision."""

    name = "openvino-int8"
    tolerance = 0.05  # a value that another CPU rounds to the next of 256 steps changes more than a bit of bf16

    def _precision_name(self, computed: str) -> str:
        return "int8"


def compile_bf16(checkpoint: Checkpoint) -> CompiledGraph | None:
    """The bf16 graph for batches side by side; None without bf16 or if not accepted. Raises ExportError."""
    export = Export.read(checkpoint, OpenVinoEngine.name)
    if not export.accepted or best_precision(export.precisions) != "bf16":
        return None
    Export.load(checkpoint, OpenVinoEngine.name)
    cores = usable_cores()
    return CompiledGraph(graph_file(checkpoint.file, OpenVinoEngine.name), "bf16", cores, None, cores)
