"""Trains GoogLeNet on Fashion-MNIST or on your own folder of pictures, on a CPU or a GPU.

    python -m model.train                          the default recipe, from scratch; the shipped weights needed
                                                   further runs (model/README.md)
    python -m model.train --recipe quick           a few minutes on two cores, to try things
    python -m model.train --data my-pictures/      your own pictures, one folder for each class
    python -m model.train --recipe refine --start-from model/weights/googlenet.safetensors
                                                   trains a finished network further
    python -m model.train --resume                 continues a run that was stopped or killed
    python -m model.train --recipe distil --teachers FILE FILE --start-from FILE
                                                   learns from teachers (model/train/distillation/teacher.py)

Writes into runs/RECIPE-SEED/: the state after every epoch, curves.png, history.json, and at the end
googlenet.safetensors, the folded network in half precision, ready to serve, or teacher.safetensors.
"""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

import torch

from model import data
from model.checkpoint import Checkpoint, CheckpointError
from model.data import DataError
from model.train.distillation.teacher import Teacher
from model.train.recipes import RECIPES
from model.train.run_state import RunFolder
from model.train.trainer import Trainer


def main() -> int:
    """Trains as the command line says; returns the exit status, 130 for a run that was stopped."""
    arguments = parse_arguments()
    folder = RunFolder(arguments.out or Path("runs") / f"{arguments.recipe}-{arguments.seed}")
    try:
        trainer = _prepare(arguments, folder)
    except (CheckpointError, DataError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    _stop_on_signals(trainer)
    if not trainer.fit():
        print(f"stopped and saved in {folder.path}; go on with --resume", file=sys.stderr)
        return 130
    if trainer.recipe.network != "googlenet":
        teacher = trainer.teacher()
        teacher.save(folder.teacher_file)
        print(f"{folder.teacher_file}: validation {100 * teacher.provenance['validation']:.2f} %")
        return 0
    checkpoint = trainer.checkpoint()
    checkpoint.save(folder.checkpoint_file)
    figures = ", ".join(f"{split} {100 * value:.2f} %" for split, value in checkpoint.metadata.accuracy.items())
    print(f"{folder.checkpoint_file}: {figures}\nserve it: GOOGLENET_CHECKPOINT={folder.checkpoint_file} make serve")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=RECIPES, default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="change one value of the recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files or an ImageFolder tree")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default runs/RECIPE-SEED)")
    parser.add_argument("--start-from", type=Path, metavar="FILE", help="begin with a checkpoint's weights")
    parser.add_argument("--teachers", type=Path, nargs="+", default=[], metavar="FILE", help="for the recipe distil")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser.parse_args()


def _prepare(arguments: argparse.Namespace, folder: RunFolder) -> Trainer:
    """A trainer ready to fit. Raises CheckpointError, DataError or, for a wrong recipe, ValueError."""
    if folder.has_state() and not arguments.resume:
        raise DataError(f"{folder.path} holds a run already: go on with it (--resume), or name another --out")
    recipe, dataset = RECIPES[arguments.recipe].with_changes(arguments.set), data.load(arguments.data)
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(automatic if arguments.device == "auto" else arguments.device)
    teachers = [Teacher.load(path, dataset, device) for path in arguments.teachers]
    trainer = Trainer(recipe, dataset, arguments.seed, device, folder, teachers)
    if arguments.start_from:
        trainer.start_from(Checkpoint.load(arguments.start_from))
    if folder.has_state():
        trainer.resume()
    return trainer


def _stop_on_signals(trainer: Trainer) -> None:
    """The first SIGINT or SIGTERM stops training after the current step; the second ends the process at once."""

    def request_stop(signum: int, frame: FrameType | None) -> None:
        trainer.stop_requested = True
        signal.signal(signum, signal.SIG_DFL)

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)


if __name__ == "__main__":
    sys.exit(main())
