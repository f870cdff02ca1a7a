"""Teachers: finished networks whose answers a student learns.

A student sees each picture with random changes. Its teachers see the same picture mirrored and moved in the same way,
but nothing erased or drawn, and say how probable each class is. The student learns a mixture of that and of the data
set's label (Hinton et al., "Distilling the knowledge in a neural network", 2015).

    for seed in 0 1; do python -m model.train --recipe teacher --seed $seed; done
    python -m model.train --recipe distil --start-from model/weights/googlenet.safetensors \\
      --teachers runs/teacher-0/teacher.safetensors runs/teacher-1/teacher.safetensors
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model.checkpoint import replace_file
from model.data import DataError, Dataset
from model.train.distillation.wide_resnet import WideResNet
from model.train.optimisation import autocast, network_input


@dataclass(frozen=True)
class Teacher:
    """A finished network, and how its pictures are prepared."""

    network: WideResNet
    mean: float
    std: float
    side: int
    """Side of its pictures in pixels."""
    provenance: dict[str, Any]
    """Recipe, seed, data and versions."""

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """float [n,1,h,w] in 0–1 → float32 [n,classes]."""
        with autocast(x.device):
            logits = self.network(network_input(x, self.side, self.mean, self.std))
        probabilities: Tensor = logits.float().softmax(1)
        return probabilities

    def save(self, path: Path) -> None:
        """Writes a safetensors file atomically, in half precision."""
        tensors = {name: tensor.half().contiguous() for name, tensor in self.network.state_dict().items()}
        numbers = {"mean": self.mean, "std": self.std, "side": self.side}
        metadata = {"teacher": json.dumps({**numbers, "provenance": self.provenance})}
        replace_file(path, save(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: Path, dataset: Dataset, device: torch.device) -> "Teacher":
        """Raises DataError if the file cannot be read, or if the teacher learned from other data."""
        try:
            with safe_open(path, framework="pt") as file:
                values = json.loads(file.metadata()["teacher"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            network = WideResNet(len(dataset.classes))
            if values["provenance"]["data"] != dataset.checksums:
                raise DataError(f"{path} learned from other data: train teachers with this data")
            network.load_state_dict(tensors)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{path} holds no teacher ({error})") from error
        return cls(network.eval().to(device).to(memory_format=torch.channels_last), **values)


def soft_targets(teachers: Sequence[Teacher], x: Tensor) -> Tensor:
    """The mean of the teachers' probabilities: float [n,1,h,w] in 0–1 → float32 [n,classes]."""
    return torch.stack([teacher.probabilities(x) for teacher in teachers]).mean(0)
