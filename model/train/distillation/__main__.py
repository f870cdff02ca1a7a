"""Knowledge distillation, step 2 of 3: labels each training picture with the answers of teachers that have not seen it.

    for k in 0 1 2; do python -m model.train --recipe teacher --set "left_out=[$k,3]" --out runs/teacher-$k; done
    python -m model.train.distillation runs/teacher-0 runs/teacher-1 runs/teacher-2 --out runs/soft-labels.safetensors
    python -m model.train --recipe distil --soft-labels runs/soft-labels.safetensors \\
      --start-from model/weights/googlenet.safetensors

On pictures that it was trained on, a teacher only repeats their labels. So it labels the others (left_out).
Each picture's logits are the mean over its mirror image and shifts by one pixel.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from model import data
from model.data import DataError, Dataset, Split
from model.train.optimisation import autocast
from model.train.recipes import Recipe
from model.train.run_state import RunFolder
from model.train.trainer import Trainer, scaled
from model.train.training_set import SoftLabels, left_out

BATCH_SIZE = 500

SHIFTS = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
"""Rows and columns by which a picture is moved."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished teacher")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files or an ImageFolder tree")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        dataset = data.load(arguments.data)
        soft_labels, validation = label(arguments.runs, dataset)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    soft_labels.save(arguments.out)
    together = 100 * _accuracy(validation, dataset.validation)
    print(
        f"{arguments.out}: {100 * _accuracy(soft_labels.logits, dataset.train):.2f} % of the training pictures are "
        f"labelled correctly by teachers that have not seen them; {together:.2f} % "
        f"of the validation pictures by all {len(soft_labels.teachers)} together"
    )
    return 0


def label(runs: list[Path], dataset: Dataset) -> tuple[SoftLabels, Tensor]:
    """The soft labels, and the teachers' mean logits for the validation pictures, float32 [n,classes].

    Raises DataError if a run is not finished, is of other data, or if no teacher may label some of the pictures.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train, validation = dataset.train.to(device), dataset.validation.to(device)
    sums = torch.zeros(len(train), len(dataset.classes), device=device)
    counts = torch.zeros(len(train), 1, device=device)
    validation_logits, teachers = [], []
    for path in runs:
        trainer = _finished(RunFolder(path), dataset, device)
        network = trainer.finished_network()
        if trainer.recipe.left_out is None:
            raise DataError(f"{path} has trained on all pictures: a teacher needs left_out")
        unseen = left_out(len(train), trainer.recipe.left_out).to(device)
        sums[unseen] += _mean_logits(trainer, network, train.pixels[unseen])
        counts[unseen] += 1
        validation_logits.append(_mean_logits(trainer, network, validation.pixels))
        teachers.append(trainer.progress.provenance)
    if not counts.all():
        raise DataError("some training pictures are left to no teacher: the values of left_out must cover them all")
    return SoftLabels((sums / counts).cpu(), teachers), torch.stack(validation_logits).mean(0).cpu()


def _finished(folder: RunFolder, dataset: Dataset, device: torch.device) -> Trainer:
    if not folder.has_state():
        raise DataError(f"{folder.path} holds no run")
    provenance = folder.progress().provenance
    if provenance["data"] != dataset.checksums:
        raise DataError(f"{folder.path} was trained on other data")
    trainer = Trainer(Recipe(**provenance["recipe"]), dataset, provenance["seed"], device, folder)
    trainer.restore(folder.progress())
    if trainer.progress.epoch < trainer.recipe.epochs:
        raise DataError(f"{folder.path} is not finished: go on with it (python -m model.train --resume)")
    return trainer


@torch.no_grad()
def _mean_logits(trainer: Trainer, network: nn.Module, pixels: Tensor) -> Tensor:
    """uint8 [n,h,w] → logits float32 [n,classes]."""
    side = trainer.recipe.resolution(trainer.recipe.epochs - 1)
    rows = []
    for batch in torch.split(pixels, BATCH_SIZE):
        views = [view for shift in SHIFTS for view in _with_mirror_image(_moved(batch, *shift))]
        with autocast(trainer.device):
            logits = [network(trainer.network_input(scaled(view), side)) for view in views]
        rows.append(torch.stack(logits).float().mean(0))
    return torch.cat(rows)


def _moved(pixels: Tensor, dy: int, dx: int) -> Tensor:
    """Moves the pictures down and to the right by whole pixels, and fills the gap with black."""
    height, width = pixels.shape[1:]
    padded = functional.pad(pixels, (1, 1, 1, 1))
    return padded[:, 1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]


def _with_mirror_image(pixels: Tensor) -> tuple[Tensor, Tensor]:
    return pixels, pixels.flip(2)


def _accuracy(logits: Tensor, split: Split) -> float:
    return (logits.argmax(1) == split.labels).double().mean().item()


if __name__ == "__main__":
    sys.exit(main())
