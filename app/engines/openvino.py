"""The exported graphs on the CPU by OpenVINO, in bf16 where the CPU has it, or in int8. Needs no torch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from app.cores import SIDE_BY_SIDE, usable_cores
from app.engine import Outputs, StartError
from model.checkpoint import Checkpoint, graph_file
from model.exported import Export, ExportError
from model.openvino import best_precision, compile_graph, ov

TOGETHER, APART = (1, 2, 4, SIDE_BY_SIDE), (SIDE_BY_SIDE, 16)
"""The sizes of batches that graphs are made for, to run on all cores and on one; larger ones are cut up, since 16 are
computed as fast as any."""


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
        graph, self.lanes = graph_file(checkpoint.file, self.name), usable_cores()
        sizes = [(size, 1) for size in TOGETHER] + [(size, self.lanes) for size in APART]
        with ThreadPoolExecutor(self.lanes) as threads:
            graphs = list(threads.map(lambda sized: _Sized(graph, computed, self.lanes, *sized), sizes))
        self._together, self._apart = graphs[: len(TOGETHER)], graphs[len(TOGETHER) :]

    def _precision(self, computed: str) -> str:
        return {"f32": "fp32"}.get(computed, computed)

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        """A core for each batch: none waits for other cores after every layer, which only a small one gains by."""
        graphs = self._apart if len(pixels) >= SIDE_BY_SIDE else self._together
        largest = graphs[-1]
        starts = range(0, len(pixels), largest.size)
        parts = [pixels[start : start + largest.size] for start in starts]
        outputs = [next(g for g in graphs if g.size >= len(part))(part) for part in parts]
        if len(outputs) == 1:
            return outputs[0]
        return Outputs(*(np.concatenate(arrays) for arrays in zip(*outputs, strict=True)))


class _Sized:
    """The graph for batches of one size; smaller ones are filled up with nothing."""

    def __init__(self, graph: Path, precision: str, threads: int, size: int, streams: int) -> None:
        self.size = size
        compiled = compile_graph(graph, precision, threads, streams, batch=size)
        self._requests: SimpleQueue[tuple[ov.InferRequest, NDArray[np.uint8]]] = SimpleQueue()
        for _ in range(streams):
            staging = np.zeros(compiled.input().shape, np.uint8)
            self._requests.put((compiled.create_infer_request(), staging))

    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        n = len(pixels)
        request, staging = self._requests.get()
        try:
            if n < self.size:
                staging[:n] = pixels
            request.infer([pixels if n == self.size else staging], share_inputs=True)
            return Outputs(*(request.get_output_tensor(i).data[:n].copy() for i in range(3)))
        finally:
            self._requests.put((request, staging))


class OpenVinoInt8Engine(OpenVinoEngine):
    """The quantised graph; the first convolution and the head are not, and run in bf16 where the CPU has it."""

    name = "openvino-int8"
    tolerance = 0.05  # a value that another CPU rounds to the next of 256 steps tells more than a bit of bf16

    def _precision(self, computed: str) -> str:
        return "int8"
