"""Engine in plain torch, single precision, on any CPU or GPU."""

import numpy as np
import torch
from numpy.typing import NDArray

from app.errors import StartError
from app.inference.cpu import usable_cores
from app.inference.engines.base import DeviceMemory, Outputs
from model.checkpoint import Checkpoint
from model.googlenet import GoogLeNet, InferenceGraph


class TorchEngine:
    """device: auto, cpu or cuda. Raises StartError if the device or the weights do not fit."""

    name = "torch"
    precision = "fp32"
    lanes = 1  # torch computes one batch on all cores
    ahead = 0
    tolerance = 0.01

    def __init__(self, checkpoint: Checkpoint, device: str) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise StartError("GOOGLENET_DEVICE=cuda: torch finds no usable GPU")
        self.device = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        self.golden = checkpoint.golden.probabilities
        self.temperature, self.threshold = checkpoint.metadata.temperature, checkpoint.metadata.threshold
        torch.backends.cudnn.allow_tf32 = False  # tf32 is not single precision
        torch.set_num_threads(usable_cores())
        graph = InferenceGraph(load_network(checkpoint), checkpoint.metadata.mean, checkpoint.metadata.std).eval()
        self._graph = graph.to(self.device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, pixels: NDArray[np.uint8]) -> Outputs:
        outputs = self._graph(torch.from_numpy(pixels).to(self.device))
        return Outputs(*(output.cpu().numpy() for output in outputs))

    def memory(self) -> DeviceMemory | None:
        return cuda_memory() if self.device == "cuda" else None


def cuda_memory() -> DeviceMemory:
    """Memory of the current GPU. `allocated` is what torch has reserved, with the pools of CUDA graphs."""
    free, limit = torch.cuda.mem_get_info()
    return DeviceMemory(torch.cuda.memory_reserved(), limit - free, limit)


def load_network(checkpoint: Checkpoint) -> GoogLeNet:
    """The checkpoint's network without BatchNorm, in single precision on the CPU. Raises StartError."""
    try:
        return GoogLeNet.from_weights(checkpoint.weights, len(checkpoint.metadata.classes))
    except RuntimeError as error:
        raise StartError(f"the checkpoint's weights do not fit GoogLeNet ({str(error).splitlines()[0]})") from error
