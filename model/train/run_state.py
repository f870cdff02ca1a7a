"""A training run's folder: the state it resumes from, its history and its curves.

The state is one safetensors file, replaced atomically. A run that is killed at any moment resumes from the last one
written. Nothing is pickled.
"""

import json
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from model import plots
from model.checkpoint import replace_file
from model.data import DataError, Dataset
from model.train.recipes import Recipe


def provenance(recipe: Recipe, seed: int, dataset: Dataset) -> dict[str, Any]:
    """Everything that determines a run's result, and the versions it was computed with."""
    return {
        "recipe": asdict(recipe),
        "seed": seed,
        "data": dataset.checksums,
        "git_commit": _git_commit(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def _git_commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:  # git is not installed
        return "unknown"
    return result.stdout.strip() or "unknown"


@dataclass
class Progress:
    """How far a run has come: `epoch` whole epochs, and `step` steps of the next one. Stored as JSON."""

    provenance: dict[str, Any]
    """A run is resumed only with the same recipe, seed, data and starting checkpoint."""
    epoch: int = 0
    step: int = 0
    since_change: int = 0
    """Steps since the start, or since resolution or learning rate last jumped."""
    loss: float = 0.0
    """Sum over the `seen` pictures of the current epoch."""
    correct: float = 0.0
    """How many of them were classified correctly."""
    seen: int = 0
    seconds: float = 0.0
    """Duration of the current epoch's steps."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One row of figures for each epoch."""

    def begin_next_epoch(self, figures: dict[str, Any]) -> None:
        """Appends the finished epoch's figures to the history and resets its sums."""
        self.history.append(figures)
        self.epoch, self.step = self.epoch + 1, 0
        self.loss, self.correct, self.seen, self.seconds = 0.0, 0.0, 0, 0.0


class RunFolder:
    """Where one run keeps its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state_file = path / "state.safetensors"
        self.checkpoint_file = path / "googlenet.safetensors"
        self.teacher_file = path / "teacher.safetensors"

    def has_state(self) -> bool:
        return self.state_file.exists()

    def save(self, progress: Progress, network: nn.Module, average: nn.Module, optimizer: torch.optim.SGD) -> None:
        """Writes everything that `progress` and `restore` read."""
        named = _named_tensors(network, average, _momentum(optimizer))
        tensors = {name: tensor.contiguous() for name, tensor in named.items()}
        replace_file(self.state_file, save(tensors, metadata={"progress": json.dumps(asdict(progress))}))

    def progress(self) -> Progress:
        """The stored progress. Raises DataError if the state cannot be read."""
        try:
            with safe_open(self.state_file, framework="pt") as file:
                return Progress(**json.loads(file.metadata()["progress"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.state_file} cannot be read ({error}): start again with another --out") from error

    def restore(self, network: nn.Module, average: nn.Module, optimizer: torch.optim.SGD) -> None:
        """Copies the stored tensors into the networks and the optimizer's momentum."""
        with safe_open(self.state_file, framework="pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}
        for i, parameter in enumerate(_parameters(optimizer)):
            if f"momentum.{i}" in stored:  # absent without momentum and before the first step
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        with torch.no_grad():
            for name, tensor in _named_tensors(network, average, _momentum(optimizer)).items():
                tensor.copy_(stored[name])

    def report(self, history: list[dict[str, Any]]) -> None:
        """Writes the history as history.json and as the plot curves.png."""
        replace_file(self.path / "history.json", (json.dumps(history, indent=1) + "\n").encode())
        plots.curves(history, self.path / "curves.png")


def _parameters(optimizer: torch.optim.SGD) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _momentum(optimizer: torch.optim.SGD) -> dict[str, Tensor]:
    buffers = (optimizer.state[parameter].get("momentum_buffer") for parameter in _parameters(optimizer))
    return {f"momentum.{i}": buffer for i, buffer in enumerate(buffers) if buffer is not None}


def _named_tensors(network: nn.Module, average: nn.Module, momentum: dict[str, Tensor]) -> dict[str, Tensor]:
    modules = {"network": network, "average": average}
    states = {f"{key}.{name}": t for key, module in modules.items() for name, t in module.state_dict().items()}
    return {**states, **momentum}
