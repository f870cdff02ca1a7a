"""Calibrates a trained network: temperature, label smoothing, and the detector of pictures that are not garments.

    python -m model.calibrate                                 the shipped checkpoint (make calibrate)
    python -m model.calibrate --checkpoint FILE --data DIR    your own checkpoint and its data

Training calibrates at its end. This command rewrites the checkpoint; export it again afterwards.
"""

import argparse
import sys
from pathlib import Path

from model import data
from model.calibrate.calibrate import MIN_VALIDATION_PICTURES, calibrate_checkpoint, check_data
from model.checkpoint import SHIPPED, Checkpoint, CheckpointError
from model.data import DataError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the training data, if it is not Fashion-MNIST")
    arguments = parser.parse_args()
    try:
        checkpoint, dataset = Checkpoint.load(arguments.checkpoint), data.load(arguments.data)
        check_data(checkpoint, dataset)
    except (CheckpointError, DataError) as error:
        print(error, file=sys.stderr)
        return 1
    if len(dataset.validation) < MIN_VALIDATION_PICTURES:
        print(
            f"{len(dataset.validation)} validation pictures are too few: {MIN_VALIDATION_PICTURES} are needed; "
            "nothing is changed"
        )
        return 0
    checkpoint = calibrate_checkpoint(checkpoint, dataset)
    checkpoint.save(arguments.checkpoint)
    metadata = checkpoint.metadata
    print(
        f"{arguments.checkpoint}: label smoothing {metadata.smoothing} taken out, "
        f"temperature {metadata.temperature:.4f}, out-of-distribution threshold {metadata.threshold}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
