"""Runs a checkpoint's network over many pictures in single precision, to measure it and to fit its calibration."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.checkpoint import Checkpoint
from model.googlenet import GoogLeNet, InferenceGraph
from model.preprocess import SIZE, native, preprocess

if TYPE_CHECKING:  # model.data needs torchvision, the network does not
    from model.data import Split


class Outputs(NamedTuple):
    """The network's outputs for n pictures, float32."""

    logits: NDArray[np.float32]
    """[n,classes], before temperature."""
    features: NDArray[np.float32]
    """[n,1024], pooled."""


Predictor = Callable[[NDArray[np.uint8]], Outputs]
"""uint8 [n,96,96] → Outputs, by the network in torch or by an exported graph."""


def load_graph(checkpoint: Checkpoint) -> InferenceGraph:
    """The checkpoint's InferenceGraph, in single precision on the CPU."""
    network = GoogLeNet.from_weights(checkpoint.weights, len(checkpoint.metadata.classes))
    return InferenceGraph(network, checkpoint.metadata.mean, checkpoint.metadata.std).eval()


def load_predictor(checkpoint: Checkpoint, batch_size: int = 128) -> Predictor:
    """Runs the checkpoint's network in torch, on the GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    graph = load_graph(checkpoint).to(device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(pixels: NDArray[np.uint8]) -> Outputs:
        batches = [graph(batch.to(device)) for batch in torch.split(torch.from_numpy(pixels), batch_size)]
        logits, features = (torch.cat([batch[k] for batch in batches]).cpu().numpy() for k in (0, 1))
        return Outputs(logits, features)

    return run


def serving_pixels(pixels: Tensor) -> Tensor:
    """uint8 [n,h,w] → uint8 [n,96,96], by the preprocessing's mode `native`."""
    if pixels.shape[1:] == (SIZE, SIZE):
        return pixels
    return torch.from_numpy(np.stack([native(Image.fromarray(picture)) for picture in pixels.numpy()]))


def preprocess_all(images: Iterable[Image.Image]) -> NDArray[np.uint8]:
    """Pictures → uint8 [n,96,96], preprocessed with the service's defaults."""
    return np.stack([preprocess(image).pixels for image in images])


@torch.inference_mode()
def predict(graph: InferenceGraph, pixels: Tensor, batch_size: int = 250) -> Tensor:
    """uint8 [n,96,96] → logits float32 [n,classes]."""
    return torch.cat([graph(batch)[0] for batch in torch.split(pixels, batch_size)])


def accuracy(graph: InferenceGraph, split: "Split") -> float:
    """Top-1 accuracy, 0–1."""
    predicted = predict(graph, serving_pixels(split.pixels)).argmax(1)
    return (predicted == split.labels).double().mean().item()
