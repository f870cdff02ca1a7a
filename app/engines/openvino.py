"""The exported graph on the CPU by OpenVINO: bf16 where the CPU has it, single precision elsewhere. Needs no torch."""

import numpy as np
from numpy.typing import NDArray

from app.cores import usable_cores
from app.engine import Outputs, StartError
from model.checkpoint import Checkpoint, graph_file
from model.export import Export, ExportError, best_precision, compile_graph


class OpenVinoEngine:
    """device: auto or cpu. Raises StartError if the export beside the checkpoint does not fit it."""

    name = "openvino"
    device = "cpu"
    tolerance = 0.02

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        if device == "cuda":
            raise StartError("GOOGLENET_ENGINE=openvino runs on the CPU; GOOGLENET_DEVICE=cuda wants another")
        try:
            export = Export.load(checkpoint)
        except ExportError as error:
            raise StartError(str(error)) from error
        precision = best_precision(export.golden)
        self.precision = {"f32": "fp32"}.get(precision, precision)
        self.temperature = export.temperature
        self.golden = np.array(export.golden[precision], np.float32)
        compiled = compile_graph(graph_file(checkpoint.file), precision, usable_cores())
        self._request = compiled.create_infer_request()

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        self._request.infer([pixels], share_inputs=True)
        return Outputs(*(self._request.get_output_tensor(i).data.copy() for i in range(3)))
