"""Turns a trained network into a checkpoint: rounds, measures and calibrates it, and adds golden pictures."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from model.calibrate.calibrate import calibrate_checkpoint
from model.checkpoint import Checkpoint, Golden, Metadata
from model.data import Dataset
from model.googlenet import GoogLeNet, InferenceGraph
from model.predict import accuracy, predict, serving_pixels


def build_checkpoint(
    network: GoogLeNet, mean: float, std: float, dataset: Dataset, training: dict[str, Any]
) -> Checkpoint:
    """Rounds the folded network to half precision, measures it on validation and test pictures, and calibrates it.

    `mean` and `std` normalise pixels scaled to 0–1. `training` goes into the metadata: recipe, seed, data, versions.
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
    return calibrate_checkpoint(Checkpoint(weights, Golden(golden.numpy(), probabilities), metadata), dataset)


def _first_of_each_class(dataset: Dataset) -> Tensor:
    """Index of each class's first validation picture, int64 [n]; n is below the classes' number if one has none."""
    labels = dataset.validation.labels.tolist()
    return torch.tensor([labels.index(label) for label in range(len(dataset.classes)) if label in labels])
