"""The exported graphs on the CPU by OpenVINO, in bf16 where the CPU has it, or in int8. Needs no torch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from app.errors import StartError
from app.inference.cpu import SIDE_BY_SIDE, usable_cores
from app.inference.engines.base import Outputs
from model.checkpoint import Checkpoint, graph_file
from model.export.manifest import Export, ExportError
from model.export.openvino import best_precision, compile_graph, ov

LARGEST = 16
"""Pictures that are computed at once: more are cut up, since so many are computed as fast as any."""

OFTEN = (1, 4)
"""Small batches that have a graph of their own, which is up to a tenth faster: a lone client's, and a few clients'."""


class OpenVinoEngine:
    """device: auto or cpu. Raises StartError if the export beside the checkpoint does not fit it."""

    name: ClassVar = "openvino"
    device = "cpu"
    tolerance: ClassVar = 0.02

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        if device == "cuda":
            raise StartError(f"GOOGLENET_ENGINE={self.name} runs on the CPU; GOOGLENET_DEVICE=cuda wants another")
        try:
            export = Export.load(checkpoint, self.name)
        except ExportError as error:
            raise StartError(str(error)) from error
        computed = best_precision(export.precisions)
        known = export.precisions[computed]
        self.precision = self._precision(computed)
        self.temperature, self.threshold = known.temperature, known.threshold
        self.golden = np.array(known.golden, np.float32)
        graph = graph_file(checkpoint.file, self.name)
        cores = self.lanes = self.ahead = usable_cores()
        shapes = (None, cores), (None, 1), *((size, 1) for size in OFTEN)
        with ThreadPoolExecutor(cores) as threads:
            graphs = threads.map(lambda shape: CompiledGraph(graph, computed, cores, *shape), shapes)
            self._apart, self._together, *often = graphs
        self._often = dict(zip(OFTEN, often, strict=True))

    def _precision(self, computed: str) -> str:
        return {"f32": "fp32"}.get(computed, computed)

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """A core for each batch: none waits for other cores after every layer, which only a small one gains by."""
        if len(pixels) < SIDE_BY_SIDE:
            return self._often.get(len(pixels), self._together)(pixels)
        outputs = [self._apart(pixels[start : start + LARGEST]) for start in range(0, len(pixels), LARGEST)]
        return outputs[0] if len(outputs) == 1 else Outputs(*map(np.concatenate, zip(*outputs, strict=True)))


class CompiledGraph:
    """The graph for any batch or for one size, so many batches side by side on the cores."""

    def __init__(self, graph: Path, precision: str, threads: int, batch: int | None, streams: int) -> None:
        self.lanes = streams
        compiled = compile_graph(graph, precision, threads, streams, batch)
        self._requests: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(2 * streams):  # a core computes one while answers are taken out of the other
            self._requests.put(compiled.create_infer_request())

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        if not pixels.flags.writeable:
            pixels = pixels.copy()  # which OpenVINO would do, too, but keep what they are a part of, a whole body
        request = self._requests.get()
        try:
            request.infer([pixels], share_inputs=True)
            return Outputs(*(request.get_output_tensor(i).data.copy() for i in range(3)))
        finally:
            self._requests.put(request)


class OpenVinoInt8Engine(OpenVinoEngine):
    """The quantised graph, its head in single precision."""

    name = "openvino-int8"
    tolerance = 0.05  # a value that another CPU rounds to the next of 256 steps tells more than a bit of bf16

    def _precision(self, computed: str) -> str:
        return "int8"


def compile_bf16(checkpoint: Checkpoint) -> CompiledGraph | None:
    """The graph in bf16, for batches side by side; None where `auto` may not choose it. Raises ExportError."""
    export = Export.read(checkpoint, OpenVinoEngine.name)
    if not export.accepted or best_precision(export.precisions) != "bf16":
        return None
    Export.load(checkpoint, OpenVinoEngine.name)
    cores = usable_cores()
    return CompiledGraph(graph_file(checkpoint.file, OpenVinoEngine.name), "bf16", cores, None, cores)
