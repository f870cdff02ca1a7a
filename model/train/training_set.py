"""The pictures that a recipe trains on and each one's target: the probabilities that the network should give.

A target is the data set's label, or a mixture of that label and of what teachers say (Hinton et al., "Distilling the
knowledge in a neural network", 2015). Teachers write soft labels with `python -m model.train.distillation`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from model.data import DataError, Dataset, Split
from model.synthetic.sketches.draw import CLASSES, draw_sketches
from model.train.recipes import Recipe


@dataclass(frozen=True)
class SoftLabels:
    """What teachers say about the training pictures."""

    logits: Tensor
    """float32 [n,classes], the mean over the teachers."""
    teachers: list[dict[str, Any]]
    """Each teacher's recipe, seed, data and versions."""

    def save(self, path: Path) -> None:
        """Writes a safetensors file with the logits in half precision."""
        save_file({"logits": self.logits.half()}, path, metadata={"teachers": json.dumps(self.teachers)})

    @classmethod
    def load(cls, path: Path) -> "SoftLabels":
        """Raises DataError if the file cannot be read."""
        try:
            with safe_open(path, framework="pt") as file:
                return cls(file.get_tensor("logits").float(), json.loads(file.metadata()["teachers"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} holds no soft labels ({error})") from error


def training_set(dataset: Dataset, recipe: Recipe, seed: int, soft_labels: SoftLabels | None) -> tuple[Split, Tensor]:
    """The training pictures and their targets, float32 [n,classes].

    Raises DataError for sketches with other classes than Fashion-MNIST's, and for soft labels that are missing or of
    other data.
    """
    split, targets = dataset.train, functional.one_hot(dataset.train.labels, len(dataset.classes)).float()
    if soft_labels is not None and not recipe.soft_label_weight:
        raise DataError("--soft-labels: this recipe has soft_label_weight=0, so it learns nothing from them")
    if recipe.soft_label_weight:
        soft = _probabilities(soft_labels, dataset, recipe.soft_label_temperature)
        targets = torch.lerp(targets, soft, recipe.soft_label_weight)
    if recipe.left_out:
        if recipe.left_out[0] >= recipe.left_out[1]:
            raise DataError(f"left_out={list(recipe.left_out)}: the first number must be below the second")
        kept = ~left_out(len(split), recipe.left_out)
        split, targets = Split(split.pixels[kept], split.labels[kept]), targets[kept]
    if recipe.sketches:
        sketches = _sketches(dataset, recipe.sketches, seed)
        split = Split(torch.cat([split.pixels, sketches.pixels]), torch.cat([split.labels, sketches.labels]))
        targets = torch.cat([targets, functional.one_hot(sketches.labels, len(dataset.classes)).float()])
    return split, targets


def left_out(count: int, every: tuple[int, int]) -> Tensor:
    """Which of `count` pictures a recipe with left_out=`every` does not train on: bool [count]."""
    first, step = every
    return torch.arange(count) % step == first


def _probabilities(soft_labels: SoftLabels | None, dataset: Dataset, temperature: float) -> Tensor:
    if soft_labels is None:
        raise DataError("this recipe learns from soft labels: name their file with --soft-labels")
    same_shape = soft_labels.logits.shape == (len(dataset.train), len(dataset.classes))
    if not same_shape or any(teacher.get("data") != dataset.checksums for teacher in soft_labels.teachers):
        raise DataError("the soft labels were made for other data: run model.train.distillation with this data")
    return functional.softmax(soft_labels.logits / temperature, dim=1)


def _sketches(dataset: Dataset, count: int, seed: int) -> Split:
    if dataset.classes != CLASSES:
        raise DataError(f"sketches={count}: sketches exist only for the classes {', '.join(CLASSES)}")
    pixels, labels = draw_sketches(count, seed)
    return Split(torch.from_numpy(pixels), torch.from_numpy(labels))
