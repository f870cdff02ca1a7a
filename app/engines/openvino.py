"""The exported graphs on the CPU by OpenVINO, in bf16 where the CPU has it, or in int8. Needs no torch."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from app.cores import usable_cores
from app.engine import Outputs, StartError
from model.checkpoint import Checkpoint, graph_file
from model.exported import Export, ExportError
from model.openvino import best_precision, compile_graph


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
        self.temperature = known.temperature
        self.golden = np.array(known.golden, np.float32)
        compiled = compile_graph(graph_file(checkpoint.file, self.name), computed, usable_cores())
        self._request = compiled.create_infer_request()

    def _precision(self, computed: str) -> str:
        return {"f32": "fp32"}.get(computed, computed)

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        self._request.infer([pixels], share_inputs=True)
        return Outputs(*(self._request.get_output_tensor(i).data.copy() for i in range(3)))


class OpenVinoInt8Engine(OpenVinoEngine):
    """The quantised graph; the first convolution and the head are not, and run in bf16 where the CPU has it."""

    name = "openvino-int8"
    tolerance = 0.05  # a value that another CPU rounds to the next of 256 steps tells more than a bit of bf16

    def _precision(self, computed: str) -> str:
        return "int8"
