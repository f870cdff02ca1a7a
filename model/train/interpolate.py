"""Interpolates between the weights of two checkpoints. The second was trained further, from the first.

    python -m model.train.interpolate BEFORE AFTER --share 0.7 --out FILE

Training further on another kind of pictures costs accuracy on the first kind. A network whose weights lie between the
two keeps most of both accuracies (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

import argparse
import sys
from pathlib import Path

import torch

from model import data
from model.calibrate.calibrate import check_data
from model.checkpoint import Checkpoint, CheckpointError
from model.data import DataError, Dataset
from model.predict import load_graph
from model.train.finalize import build_checkpoint


def interpolate(before: Checkpoint, after: Checkpoint, share: float, dataset: Dataset) -> Checkpoint:
    """A checkpoint with the weights `share` * after + (1 - share) * before, measured and calibrated.

    Raises DataError if either was trained on other data, or if they differ in classes or normalisation.
    """
    check_data(before, dataset)
    check_data(after, dataset)
    first, second = before.metadata, after.metadata
    if (first.classes, first.mean, first.std) != (second.classes, second.mean, second.std):
        raise DataError("the checkpoints differ in classes or normalisation: neither was trained from the other")
    network = load_graph(after).network
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.lerp_(torch.from_numpy(before.weights[name]).float(), 1 - share)
    interpolated = {"before": {"version": before.version, **first.training}, "after": after.version, "share": share}
    return build_checkpoint(
        network, second.mean, second.std, dataset, {**second.training, "interpolated": interpolated}
    )


def _fraction(text: str) -> float:
    fraction = float(text)
    if not 0 <= fraction <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return fraction


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, metavar="BEFORE")
    parser.add_argument("after", type=Path, metavar="AFTER")
    parser.add_argument("--share", type=_fraction, required=True, help="weight of AFTER, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="what both were trained on, if not Fashion-MNIST")
    arguments = parser.parse_args()
    try:
        before, after = Checkpoint.load(arguments.before), Checkpoint.load(arguments.after)
        checkpoint = interpolate(before, after, arguments.share, data.load(arguments.data))
    except (CheckpointError, DataError) as error:
        print(error, file=sys.stderr)
        return 1
    checkpoint.save(arguments.out)
    print(f"{arguments.out}: validation {100 * checkpoint.metadata.accuracy['validation']:.2f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
