"""How good a checkpoint is, measured on its own preprocessing and its own, shipped weights.

python -m model.evaluate                       the shipped checkpoint on the whole test set
python -m model.evaluate --first 1000          on its first 1,000 pictures
python -m model.evaluate --checkpoint FILE --data DIR
python -m model.evaluate --robustness          the test set re-made as uploads, recipe by recipe
"""

import argparse
import sys
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model import data, robustness
from model.checkpoint import SHIPPED, Checkpoint, CheckpointError
from model.data import DataError, Split
from model.googlenet import GoogLeNet, InferenceGraph
from model.preprocess import SIZE, native


def load_graph(checkpoint: Checkpoint) -> InferenceGraph:
    """The checkpoint's network as every engine runs it, in single precision on the CPU."""
    network = GoogLeNet(len(checkpoint.metadata.classes))
    network.load_state_dict({name: torch.from_numpy(array).float() for name, array in checkpoint.weights.items()})
    return InferenceGraph(network.eval(), checkpoint.metadata.mean, checkpoint.metadata.std).eval()


def serving_pixels(pixels: Tensor) -> Tensor:
    """uint8 [n,h,w] → uint8 [n,96,96], each picture by the service's own preprocessing."""
    if pixels.shape[1:] == (SIZE, SIZE):
        return pixels
    return torch.from_numpy(np.stack([native(Image.fromarray(picture)) for picture in pixels.numpy()]))


@torch.inference_mode()
def predict(graph: InferenceGraph, pixels: Tensor, batch_size: int = 250) -> Tensor:
    """uint8 [n,96,96] → logits float32 [n,classes]."""
    return torch.cat([graph(batch)[0] for batch in torch.split(pixels, batch_size)])


def accuracy(graph: InferenceGraph, split: Split) -> float:
    """Fraction of the pictures whose likeliest class is the right one."""
    predicted = predict(graph, serving_pixels(split.pixels)).argmax(1)
    return (predicted == split.labels).double().mean().item()


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="Fashion-MNIST's files or an ImageFolder tree")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--robustness", action="store_true", help="accuracy on re-made pictures, beside the clean one")
    parser.add_argument("--only", default="", metavar="TEXT", help="of those, recipes whose name contains TEXT")
    arguments = parser.parse_args()
    try:
        checkpoint, dataset = Checkpoint.load(arguments.checkpoint), data.load(arguments.data)
    except (CheckpointError, DataError) as error:
        print(error, file=sys.stderr)
        return 1
    classes = checkpoint.metadata.classes
    if classes != dataset.classes:
        print(f"the checkpoint knows {classes}, the data has {dataset.classes}", file=sys.stderr)
        return 1
    split = (dataset.test if arguments.split == "test" else dataset.validation)[: arguments.first]
    if arguments.robustness:
        return _robustness(checkpoint, split, arguments.only)
    predicted = predict(load_graph(checkpoint), serving_pixels(split.pixels)).argmax(1)
    matrix = confusion(predicted, split.labels, len(classes))
    print(confusion_table(matrix, classes))
    right = int(matrix.diagonal().sum())
    share = f"{100 * right / len(split):.2f} % ({right} of {len(split)})"
    print(f"\n{arguments.split} accuracy {share}  {arguments.checkpoint}")
    return 0


def _robustness(checkpoint: Checkpoint, split: Split, only: str) -> int:
    if split.pixels.shape[1:] != (28, 28):
        print("only pictures as Fashion-MNIST's, 28×28, can be re-made", file=sys.stderr)
        return 1
    with Pool() as pool:  # before anything starts threads: it forks
        network = robustness.exported_network(checkpoint) or _torch_network(checkpoint)
        found = robustness.rows(network, split.pixels.numpy(), split.labels.numpy(), pool, only)
        for line in robustness.table(found):
            print(line, flush=True)
    print(f"\nn = {len(split)}; percent, lost against clean in points; ! more than allowed")
    return 0


def _torch_network(checkpoint: Checkpoint) -> robustness.Network:
    graph = load_graph(checkpoint)
    return lambda pixels: predict(graph, torch.from_numpy(pixels)).numpy()


if __name__ == "__main__":
    sys.exit(main())
