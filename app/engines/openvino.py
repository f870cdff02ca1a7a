"""The exported graphs on the CPU by OpenVINO, in bf16 where the CPU has it, or in int8. Needs no torch."""

from queue import SimpleQueue
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from app.cores import SIDE_BY_SIDE, usable_cores
from app.engine import Outputs, StartError
from model.checkpoint import Checkpoint, graph_file
from model.exported import Export, ExportError
from model.openvino import best_precision, compile_graph, ov


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
        graph, cores = graph_file(checkpoint.file, self.name), usable_cores()
        self.lanes = cores
        self._together, self._apart = (
            _requests(compile_graph(graph, computed, cores, streams=streams), streams) for streams in (1, cores)
        )

    def _precision(self, computed: str) -> str:
        return {"f32": "fp32"}.get(computed, computed)

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """A core for each batch: none waits for other cores after every layer, which only a small one gains by."""
        requests = self._apart if len(pixels) >= SIDE_BY_SIDE else self._together
        request = requests.get()
        try:
            request.infer([pixels], share_inputs=True)
            return Outputs(*(request.get_output_tensor(i).data.copy() for i in range(3)))
        finally:
            requests.put(request)


class OpenVinoInt8Engine(OpenVinoEngine):
    """The quantised graph; the first convolution and the head are not, and run in bf16 where the CPU has it."""

    name = "openvino-int8"
    tolerance = 0.05  # a value that another CPU rounds to the next of 256 steps tells more than a bit of bf16

    def _precision(self, computed: str) -> str:
        return "int8"


def _requests(graph: ov.CompiledModel, count: int) -> "SimpleQueue[ov.InferRequest]":
    requests: SimpleQueue[ov.InferRequest] = SimpleQueue()
    for _ in range(count):
        requests.put(graph.create_infer_request())
    return requests
