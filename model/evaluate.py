"""How good a checkpoint is, measured on its own preprocessing and its own, shipped weights.

python -m model.evaluate                       the shipped checkpoint on the whole test set
python -m model.evaluate --first 1000          on its first 1,000 pictures
python -m model.evaluate --checkpoint FILE --data DIR
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model import data
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
    parser.add_argument("--first", type=int, metavar="N", help="only the first N test pictures")
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
    test = dataset.test[: arguments.first]
    predicted = predict(load_graph(checkpoint), serving_pixels(test.pixels)).argmax(1)
    matrix = confusion(predicted, test.labels, len(classes))
    print(confusion_table(matrix, classes))
    right = int(matrix.diagonal().sum())
    print(f"\ntest accuracy {100 * right / len(test):.2f} % ({right} of {len(test)})  {arguments.checkpoint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
