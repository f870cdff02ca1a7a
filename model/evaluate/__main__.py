"""Evaluates a checkpoint with the service's own preprocessing, or measures everything for the model card.

python -m model.evaluate                       the shipped checkpoint on the whole test set
python -m model.evaluate --first 1000          on its first 1,000 pictures
python -m model.evaluate --checkpoint FILE --data DIR
python -m model.evaluate --robustness          accuracy on pictures made into typical uploads, by recipe
python -m model.evaluate --calibration         calibration error, likelihood and Brier score
python -m model.evaluate --outliers            detection of pictures that are not garments
python -m model.evaluate --report              measures everything and writes the model card (make report)
"""

import argparse
import sys
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path

from torch import Tensor

from model import data
from model.checkpoint import SHIPPED, Checkpoint, CheckpointError
from model.data import DataError, Dataset, Split
from model.evaluate import measurements, model_card, robustness
from model.evaluate.served_precisions import served_models
from model.predict import load_graph, predict, serving_pixels


def confusion_table(matrix: Tensor, classes: Sequence[str]) -> str:
    """The matrix as text, with each class's recall and precision."""
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
        if checkpoint.metadata.training.get("data") != dataset.checksums:
            message = "was trained on other data and may know some of these pictures: its figures may be too good"
            print(f"warning: {checkpoint.file} {message}", file=sys.stderr)
        split = (dataset.test if arguments.split == "test" else dataset.validation)[: arguments.first]
        if arguments.report:
            model_card.write(checkpoint, dataset)
            print(f"written: {model_card.CARD} and what is in {model_card.FIGURES_FOLDER}")
        elif arguments.calibration or arguments.outliers:
            _print_tables(checkpoint, dataset, arguments)
        elif arguments.robustness:
            _print_robustness(checkpoint, split, arguments.only)
        else:
            _print_accuracy(checkpoint, split, arguments.split)
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
    uploads = "print the accuracy on pictures made into uploads, and on unchanged ones"
    parser.add_argument("--robustness", action="store_true", help=uploads)
    only = "with --robustness: only the group TEXT, or recipes with TEXT in their name"
    parser.add_argument("--only", default="", metavar="TEXT", help=only)
    tables = "print the figures of every engine and calibration step"
    parser.add_argument("--calibration", action="store_true", help=tables)
    scores = "print every out-of-distribution score on every set of outliers"
    parser.add_argument("--outliers", action="store_true", help=scores)
    report = "measure everything and write the model card and its pictures"
    parser.add_argument("--report", action="store_true", help=report)
    return parser.parse_args()


def _print_accuracy(checkpoint: Checkpoint, split: Split, name: str) -> None:
    classes = checkpoint.metadata.classes
    predicted = predict(load_graph(checkpoint), serving_pixels(split.pixels)).argmax(1)
    matrix = measurements.confusion_matrix(predicted, split.labels, len(classes))
    print(confusion_table(matrix, classes))
    correct = int(matrix.diagonal().sum())
    accuracy = f"{100 * correct / len(split):.2f} % ({correct} of {len(split)})"
    print(f"\n{name} accuracy {accuracy}  {checkpoint.file}")


def _print_tables(checkpoint: Checkpoint, dataset: Dataset, arguments: argparse.Namespace) -> None:
    models = served_models(checkpoint)
    outputs = measurements.model_outputs(models, dataset)
    if arguments.calibration:
        print(model_card.calibration_tables(measurements.measure_calibration(checkpoint, dataset, models, outputs)))
    if arguments.outliers:
        detector = measurements.require_detector(checkpoint)
        print(model_card.outlier_tables(measurements.measure_outlier_detection(detector, dataset, models, outputs)))


def _print_robustness(checkpoint: Checkpoint, split: Split, only: str) -> None:
    if split.pixels.shape[1:] != (28, 28):
        raise DataError("--robustness needs pictures of 28×28 pixels, as Fashion-MNIST has them")
    with Pool() as pool:  # first, because it forks: OpenVINO starts threads
        model = served_models(checkpoint)[-1]
        rows = robustness.measure_rows(model, split.pixels.numpy(), split.labels.numpy(), pool, only)
        for line in robustness.table(rows):
            print(line, flush=True)
    print(f"\nn = {len(split)}; percent, lost against clean in points; ! more than allowed")


if __name__ == "__main__":
    sys.exit(main())
