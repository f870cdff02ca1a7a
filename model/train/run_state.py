"""A training run on disk: where it stands, how it went, and its picture.

The state is one safetensors file, replaced atomically, so a run killed at any moment goes on from the
last one written; nothing is pickled.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from model import plots
from model.data import DataError


@dataclass
class Progress:
    """What is done: `epoch` whole epochs and `step` steps of the next; everything else is bookkeeping."""

    provenance: dict[str, Any]
    """Recipe, seed, data and versions: a run is resumed only as what it was started as."""
    epoch: int = 0
    step: int = 0
    since_change: int = 0
    """Steps since resolution or learning rate began anew: how far the moving average can be trusted."""
    loss: float = 0.0
    """Sum over the pictures of the running epoch."""
    correct: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class Run:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_file = folder / "state.safetensors"
        self.checkpoint_file = folder / "googlenet.safetensors"

    def exists(self) -> bool:
        return self.state_file.exists()

    def save(self, progress: Progress, network: nn.Module, average: nn.Module, optimizer: torch.optim.SGD) -> None:
        """Writes everything the run needs to go on as if it had never stopped."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: tensor.contiguous() for name, tensor in _named_tensors(network, average, _momentum(optimizer)).items()
        }
        temporary = self.state_file.with_suffix(".part")
        temporary.write_bytes(save(tensors, metadata={"progress": json.dumps(asdict(progress))}))
        os.replace(temporary, self.state_file)

    def progress(self) -> Progress:
        """Where the stored run stands. Raises DataError if its state cannot be read."""
        try:
            with safe_open(self.state_file, framework="pt") as file:
                return Progress(**json.loads(file.metadata()["progress"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.state_file} cannot be read ({error}): start again with another --out") from error

    def restore(self, network: nn.Module, average: nn.Module, optimizer: torch.optim.SGD) -> None:
        """Puts the stored tensors back into the objects of a freshly built run."""
        with safe_open(self.state_file, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}
        for i, parameter in enumerate(_parameters(optimizer)):
            if f"momentum.{i}" in stored:  # there is none without momentum, or before the first step
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        with torch.no_grad():
            for name, tensor in _named_tensors(network, average, _momentum(optimizer)).items():
                tensor.copy_(stored[name])

    def report(self, history: list[dict[str, Any]]) -> None:
        """Writes the curves: history.json for programs, curves.png for people."""
        part = self.folder / "part.json"
        part.write_text(json.dumps(history, indent=1) + "\n")
        os.replace(part, self.folder / "history.json")
        plots.curves(history, self.folder / "curves.png")


def _parameters(optimizer: torch.optim.SGD) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _momentum(optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    buffers = (optimizer.state[parameter].get("momentum_buffer") for parameter in _parameters(optimizer))
    return {f"momentum.{i}": buffer for i, buffer in enumerate(buffers) if buffer is not None}


def _named_tensors(network: nn.Module, average: nn.Module, momentum: dict[str, Tensor]) -> dict[str, Tensor]:
    modules = {"network": network, "average": average}
    states = {f"{key}.{name}": t for key, module in modules.items() for name, t in module.state_dict().items()}
    return {**states, **momentum}
