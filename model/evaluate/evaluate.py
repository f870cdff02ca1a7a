"""How good a checkpoint is, measured on its own preprocessing and its own, shipped weights.

python -m model.evaluate                       the shipped checkpoint on the whole test set
python -m model.evaluate --first 1000          on its first 1,000 pictures
python -m model.evaluate --checkpoint FILE --data DIR
python -m model.evaluate --robustness          the test set re-made as uploads, recipe by recipe
python -m model.evaluate --calibration         how far its probabilities can be taken at their word
python -m model.evaluate --outliers            how well it tells what is no garment
python -m model.evaluate --report              everything, into the model card (make report)
"""

import argparse
import sys
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path

import torch
from torch import Tensor

from model import data
from model.checkpoint import SHIPPED, Checkpoint, CheckpointError
from model.data import DataError, Dataset, Split
from model.evaluate import measurements, model_card, robustness
from model.evaluate.served_precisions import ways
from model.predict import load_graph, predict, serving_pixels


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts, int64 [classes,classes]: rows are the true class, columns the predicted one."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def confusion_table(matrix: Tensor, classes: Sequence[str]) -> str:
    """The matrix as text, with each class's recall and precision at the edge."""
    width = max(len(name) for name in classes)
    corner = "true \\ predicted"
    lines = [f"{corner:>{width + 4}}" + "".join(f"{i:6d}" for i in range(len(classes))) + "   recall"]
    for i, (name, row) in enumerate(zip(classes, matrix.tolist(), strict=True)):
        recall = row[i] / max(1, sum(row))
        lines.append(f"{name:>{width}} {i:3d}" + "".join(f"{count:6d}" for count in row) + f"{100 * recall:8.1f} %")
    precision = matrix.diagonal() / matrix.sum(0).clamp(min=1)
    lines.append(f"{'precision %':>{width + 4}}" + "".join(f"{100 * value:6.1f}" for value in precision.tolist()))
    return "\n".join(lines)


def main() -> int:
    arguments = _arguments()
    try:
        checkpoint, dataset = Checkpoint.load(arguments.checkpoint), data.load(arguments.data)
        if checkpoint.metadata.classes != dataset.classes:
            raise DataError(f"the checkpoint knows {checkpoint.metadata.classes}, the data has {dataset.classes}")
        split = (dataset.test if arguments.split == "test" else dataset.validation)[: arguments.first]
        if arguments.report:
            model_card.write(checkpoint, dataset)
            print(f"written: {model_card.CARD} and what is in {model_card.PICTURES}")
        elif arguments.calibration or arguments.outliers:
            _measure(checkpoint, dataset, arguments)
        elif arguments.robustness:
            _robustness(checkpoint, split, arguments.only)
        else:
            _accuracy(checkpoint, split, arguments.split)
    except (CheckpointError, DataError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files or an ImageFolder tree")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--robustness", action="store_true", help="accuracy on re-made pictures, beside the clean one")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="of those, the group TEXT, or recipes with TEXT in their name"
    )
    for name, meaning in (
        ("calibration", "calibration error, likelihood and Brier score, by engine and step"),
        ("outliers", "every way to tell what is no garment, on every set"),
        ("report", "all of it, into the model card and its pictures"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    return parser.parse_args()


def _accuracy(checkpoint: Checkpoint, split: Split, name: str) -> None:
    classes = checkpoint.metadata.classes
    predicted = predict(load_graph(checkpoint), serving_pixels(split.pixels)).argmax(1)
    matrix = confusion(predicted, split.labels, len(classes))
    print(confusion_table(matrix, classes))
    right = int(matrix.diagonal().sum())
    share = f"{100 * right / len(split):.2f} % ({right} of {len(split)})"
    print(f"\n{name} accuracy {share}  {checkpoint.file}")


def _measure(checkpoint: Checkpoint, dataset: Dataset, arguments: argparse.Namespace) -> None:
    served = ways(checkpoint)
    found = measurements.outputs(served, dataset)
    if arguments.calibration:
        print(model_card.calibration_tables(measurements.calibration(checkpoint, dataset, served, found)))
    if arguments.outliers:
        print(
            model_card.outlier_tables(
                measurements.outliers(measurements.detector_of(checkpoint), dataset, served, found)
            )
        )


def _robustness(checkpoint: Checkpoint, split: Split, only: str) -> None:
    if split.pixels.shape[1:] != (28, 28):
        raise DataError("only pictures as Fashion-MNIST's, 28×28, can be re-made")
    with Pool() as pool:  # before anything starts threads: it forks
        found = robustness.rows(ways(checkpoint)[-1], split.pixels.numpy(), split.labels.numpy(), pool, only)
        for line in robustness.table(found):
            print(line, flush=True)
    print(f"\nn = {len(split)}; percent, lost against clean in points; ! more than allowed")


if __name__ == "__main__":
    sys.exit(main())
