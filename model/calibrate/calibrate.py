"""Makes a trained network's answers credible: temperature, and a detector of pictures that are no garments.

    python -m model.calibrate                                 the shipped checkpoint (make calibrate)
    python -m model.calibrate --checkpoint FILE --data DIR    one of your own

Training does it at its end. It rewrites the checkpoint, whose exports have to be made anew: the
temperature and the threshold come from what the validation pictures get, the detector from training
pictures and drawn strangers; the test pictures have no part in it.
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model import data
from model.calibrate import detector_training
from model.calibrate.reliability import fit_temperature, measure
from model.checkpoint import SHIPPED, Checkpoint, CheckpointError, Golden
from model.data import DataError, Dataset
from model.labels import probabilities, remove_label_smoothing
from model.ood_detector import Detector, threshold
from model.predict import Outputs, Predictor, load_predictor, serving_pixels

FEWEST = 100
"""Validation pictures: with fewer, the temperature stays 1 and there is no detector."""


@dataclass(frozen=True)
class Fitted:
    """What one export's own outputs on the validation pictures say; its own because rounding moves them."""

    temperature: float
    threshold: float | None


def fit(outputs: Outputs, labels: NDArray[np.int64], smoothing: float, detector: Detector | None) -> Fitted | None:
    """Temperature and threshold from the validation pictures' outputs; None if there are fewer than FEWEST."""
    if len(labels) < FEWEST:
        return None
    kept = None if detector is None else threshold(detector.score(*outputs))
    return Fitted(fit_temperature(remove_label_smoothing(outputs.logits, smoothing), labels), kept)


def calibrated(checkpoint: Checkpoint, dataset: Dataset) -> Checkpoint:
    """The checkpoint with temperature, label smoothing, detector and threshold fitted, its golden answers with them.

    With fewer than FEWEST validation pictures, the checkpoint as it is.
    """
    labels = dataset.validation.labels.numpy()
    if len(labels) < FEWEST:
        return checkpoint
    run = load_predictor(checkpoint)
    outputs = run(serving_pixels(dataset.validation.pixels).numpy())
    smoothing = _better_smoothing(outputs, labels, checkpoint.metadata.training["recipe"]["label_smoothing"])
    detector = _detector(run, dataset)
    fitted = fit(outputs, labels, smoothing, detector) or Fitted(1.0, None)
    metadata = replace(
        checkpoint.metadata, temperature=fitted.temperature, smoothing=smoothing, threshold=fitted.threshold
    )
    golden = probabilities(run(checkpoint.golden.pixels).logits, fitted.temperature, smoothing)
    return replace(checkpoint, golden=Golden(checkpoint.golden.pixels, golden), metadata=metadata, detector=detector)


def _better_smoothing(outputs: Outputs, labels: NDArray[np.int64], trained_with: float) -> float:
    """The recipe's label smoothing, or 0 if the validation pictures are likelier without taking it out."""

    def nll(smoothing: float) -> float:
        temperature = fit_temperature(remove_label_smoothing(outputs.logits, smoothing), labels)
        return measure(probabilities(outputs.logits, temperature, smoothing), labels).nll

    return min((0.0, trained_with), key=nll)


def _detector(run: Predictor, dataset: Dataset) -> Detector:
    known = detector_training.garments(run, dataset.train)
    return detector_training.fit(
        known, [*detector_training.drawn(run, dataset.train).values(), detector_training.turned(run, dataset.train)]
    )


def check(checkpoint: Checkpoint, dataset: Dataset) -> None:
    """Raises DataError if the data is not what the checkpoint was trained on."""
    if checkpoint.metadata.training["data"] != dataset.checksums:
        raise DataError(f"{checkpoint.file} was trained on other data: name its own by --data")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="what it was trained on, if not Fashion-MNIST")
    arguments = parser.parse_args()
    try:
        checkpoint, dataset = Checkpoint.load(arguments.checkpoint), data.load(arguments.data)
        check(checkpoint, dataset)
    except (CheckpointError, DataError) as error:
        print(error, file=sys.stderr)
        return 1
    if len(dataset.validation) < FEWEST:
        print(f"{len(dataset.validation)} validation pictures are too few: {FEWEST} are needed; nothing is changed")
        return 0
    checkpoint = calibrated(checkpoint, dataset)
    checkpoint.save(arguments.checkpoint)
    metadata = checkpoint.metadata
    print(
        f"{arguments.checkpoint}: label smoothing {metadata.smoothing} taken out, "
        f"temperature {metadata.temperature:.4f}, out-of-distribution threshold {metadata.threshold}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
