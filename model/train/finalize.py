"""What follows training: a network becomes a checkpoint, with its figures, golden pictures and calibration."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from model.calibrate.calibrate import calibrated
from model.checkpoint import Checkpoint, Golden, Metadata
from model.data import Dataset
from model.googlenet import GoogLeNet, InferenceGraph
from model.predict import accuracy, predict, serving_pixels


def finished(network: GoogLeNet, mean: float, std: float, dataset: Dataset, training: dict[str, Any]) -> Checkpoint:
    """The folded network, rounded to half precision, measured on validation and test pictures and calibrated.

    `mean` and `std` are what pixels scaled to 0–1 are normalised with; `training` is the recipe and what else it
    takes to train it again.
    """
    network = network.cpu().half().float().eval()
    graph = InferenceGraph(network, mean, std)
    golden = serving_pixels(dataset.validation[_first_of_each_class(dataset)].pixels)
    metadata = Metadata(
        name=f"googlenet-{dataset.name}",
        classes=dataset.classes,
        mean=mean,
        std=std,
        accuracy={"validation": accuracy(graph, dataset.validation), "test": accuracy(graph, dataset.test)},
        training=training,
    )
    weights = {name: tensor.half().numpy() for name, tensor in network.state_dict().items()}
    probabilities = functional.softmax(predict(graph, golden), dim=1).numpy()
    return calibrated(Checkpoint(weights, Golden(golden.numpy(), probabilities), metadata), dataset)


def _first_of_each_class(dataset: Dataset) -> Tensor:
    """Where each class first comes up in the validation pictures, int64 [classes or fewer]."""
    labels = dataset.validation.labels.tolist()
    return torch.tensor([labels.index(label) for label in range(len(dataset.classes)) if label in labels])
