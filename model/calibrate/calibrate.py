"""Fits a checkpoint's calibration: temperature, label smoothing, detector and threshold.

Temperature, smoothing and threshold are fitted on the validation pictures, the detector on training pictures and
synthetic outliers. The test pictures are not used.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.calibrate import detector_training
from model.calibrate.reliability import fit_temperature, measure_reliability
from model.checkpoint import Checkpoint, Golden
from model.data import DataError, Dataset
from model.labels import probabilities, remove_label_smoothing
from model.ood_detector import Detector, threshold
from model.predict import Outputs, load_predictor, serving_pixels

MIN_VALIDATION_PICTURES = 100
"""With fewer validation pictures the temperature stays 1 and there is no detector."""


@dataclass(frozen=True)
class Calibration:
    """Temperature and outlier threshold, fitted for one export: rounding changes its outputs, so each has its own."""

    temperature: float
    threshold: float | None


def fit_calibration(
    outputs: Outputs, labels: NDArray[np.int64], smoothing: float, detector: Detector | None
) -> Calibration | None:
    """Fits to the validation pictures' outputs; None if there are fewer than MIN_VALIDATION_PICTURES."""
    if len(labels) < MIN_VALIDATION_PICTURES:
        return None
    limit = None if detector is None else threshold(detector.score(*outputs))
    return Calibration(fit_temperature(remove_label_smoothing(outputs.logits, smoothing), labels), limit)


def calibrate_checkpoint(checkpoint: Checkpoint, dataset: Dataset) -> Checkpoint:
    """Fits temperature, label smoothing, detector and threshold, and updates the golden probabilities.

    Returns the checkpoint unchanged if there are fewer than MIN_VALIDATION_PICTURES.
    """
    labels = dataset.validation.labels.numpy()
    if len(labels) < MIN_VALIDATION_PICTURES:
        return checkpoint
    run = load_predictor(checkpoint)
    outputs = run(serving_pixels(dataset.validation.pixels).numpy())
    smoothing = _choose_smoothing(outputs, labels, checkpoint.metadata.training["recipe"]["label_smoothing"])
    detector = detector_training.train_detector(run, dataset.train)
    fitted = fit_calibration(outputs, labels, smoothing, detector) or Calibration(1.0, None)
    metadata = replace(
        checkpoint.metadata, temperature=fitted.temperature, smoothing=smoothing, threshold=fitted.threshold
    )
    golden = probabilities(run(checkpoint.golden.pixels).logits, fitted.temperature, smoothing)
    return replace(checkpoint, golden=Golden(checkpoint.golden.pixels, golden), metadata=metadata, detector=detector)


def _choose_smoothing(outputs: Outputs, labels: NDArray[np.int64], trained_with: float) -> float:
    """The label smoothing to remove: the recipe's, or 0 if that gives a lower negative log likelihood on validation."""

    def nll(smoothing: float) -> float:
        temperature = fit_temperature(remove_label_smoothing(outputs.logits, smoothing), labels)
        return measure_reliability(probabilities(outputs.logits, temperature, smoothing), labels).nll

    return min((0.0, trained_with), key=nll)


def check_data(checkpoint: Checkpoint, dataset: Dataset) -> None:
    """Raises DataError if the checkpoint was trained on other data."""
    same_pictures = checkpoint.metadata.training.get("data") == dataset.checksums
    if not same_pictures or checkpoint.metadata.classes != dataset.classes:
        raise DataError(f"{checkpoint.file} was trained on other data: name its own by --data")
