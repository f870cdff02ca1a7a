"""The exported graphs on the CPU by OpenVINO, in bf16 where the CPU has it, or in int8. Needs no torch."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from app.cores import usable_cores
from app.engine import Outputs, StartError
from model.checkpoint import Checkpoint, graph_file
from model.exported import Export, ExportError
from model.openvino import best_precision, compile_graph

APART = 4
"""Pictures a core from which on each core computes its own part of the batch."""


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
        self._together = compile_graph(graph, computed, cores).create_infer_request()
        apart = compile_graph(graph, computed, cores, streams=cores) if cores > 1 else None
        self._apart = [apart.create_infer_request() for _ in range(cores)] if apart else []

    def _precision(self, computed: str) -> str:
        return {"f32": "fp32"}.get(computed, computed)

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        if not self._apart or len(pixels) < APART * len(self._apart):
            self._together.infer([pixels], share_inputs=True)
            return Outputs(*(self._together.get_output_tensor(i).data.copy() for i in range(3)))
        return self._in_parts(pixels)

    def _in_parts(self, pixels: NDArray[np.uint8]) -> Outputs:
        """A part a core: nobody waits for the others after every layer, which is faster for many pictures."""
        parts = np.array_split(pixels, len(self._apart))
        for request, part in zip(self._apart, parts, strict=True):
            request.start_async([part], share_inputs=True)
        for request in self._apart:
            request.wait()
        return Outputs(*(np.concatenate([r.get_output_tensor(i).data for r in self._apart]) for i in range(3)))


class OpenVinoInt8Engine(OpenVinoEngine):
    """The quantised graph; the first convolution and the head are not, and run in bf16 where the CPU has it."""

    name = "openvino-int8"
    tolerance = 0.05  # a value that another CPU rounds to the next of 256 steps tells more than a bit of bf16

    def _precision(self, computed: str) -> str:
        return "int8"
