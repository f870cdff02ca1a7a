"""Measures every figure of the model card on a checkpoint, its exports and its data; returns plain values for JSON."""

import os
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from multiprocessing.pool import Pool as ProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.calibrate import detector_training
from model.calibrate.reliability import fit_temperature, measure_reliability, reliability_diagram
from model.checkpoint import Checkpoint, CheckpointError
from model.data import Dataset, Split
from model.evaluate import detector_comparison, outlier_sets, robustness
from model.evaluate.served_precisions import Predictions, ServedModel, served_models
from model.labels import probabilities, remove_label_smoothing
from model.ood_detector import Detector
from model.predict import Outputs, preprocess_all, serving_pixels
from model.synthetic.uploads import GROUPS

HARDEST_PICTURES = 24

ROBUSTNESS_PICTURES = 1000
"""Test pictures on which each recipe of model.synthetic.uploads is measured."""

ROBUSTNESS_KEY = "remade, "
"""Prefix of a recipe group's key. Each group is measured separately, so that a stopped report resumes at the next."""

HISTOGRAM_LIMITS, HISTOGRAM_BINS = (-20.0, 20.0), 60
"""Of out-of-distribution scores; the first and last bin include the scores beyond the limits."""

Figures = dict[str, Any]
Labels = dict[str, NDArray[np.int64]]
"""By split: "validation" and "test"."""

ModelOutputs = dict[str, dict[str, Outputs]]
"""By served model and split."""


def measurements(checkpoint: Checkpoint, dataset: Dataset, pool: ProcessPool) -> dict[str, Callable[[], Any]]:
    """A function for each part of the card's figures. Raises CheckpointError if the checkpoint has no detector."""
    models, detector = served_models(checkpoint), require_detector(checkpoint)
    outputs = cache(lambda: model_outputs(models, dataset))
    return {
        "classes": lambda: list(checkpoint.metadata.classes),
        "smoothing": lambda: checkpoint.metadata.smoothing,
        "history": lambda: checkpoint.metadata.training["history"],
        "machine": _machine,
        "calibration": lambda: measure_calibration(checkpoint, dataset, models, outputs()),
        "outliers": lambda: measure_outlier_detection(detector, dataset, models, outputs()),
        **{ROBUSTNESS_KEY + group: partial(measure_robustness, dataset, models[-1], pool, group) for group in GROUPS},
    }


def model_outputs(models: list[ServedModel], dataset: Dataset) -> ModelOutputs:
    """Runs every model on the validation and the test pictures."""
    return {
        model.name: {name: model.run(serving_pixels(split.pixels).numpy()) for name, split in _splits(dataset).items()}
        for model in models
    }


def measure_calibration(
    checkpoint: Checkpoint, dataset: Dataset, models: list[ServedModel], outputs: ModelOutputs
) -> Figures:
    """Calibration of every model; for the last one also the gain of each step, confusion matrix and worst mistakes."""
    labels = {name: _labels(split) for name, split in _splits(dataset).items()}
    last = models[-1]
    test = outputs[last.name]["test"]
    shipped = last.predictions(test).probabilities
    confusion = confusion_matrix(torch.from_numpy(shipped.argmax(1)), dataset.test.labels, shipped.shape[1])
    return {
        "engines": {model.name: _calibration_of(model, outputs[model.name], labels) for model in models},
        "steps": _calibration_steps(outputs[last.name], labels, checkpoint.metadata.smoothing),
        "measured_on": last.name,
        "diagram": {
            "as trained": reliability_diagram(probabilities(test.logits, 1.0, 0.0), labels["test"]),
            "shipped": reliability_diagram(shipped, labels["test"]),
        },
        "confusion": confusion.tolist(),
        "hardest": _hardest(shipped, labels["test"]),
    }


def measure_outlier_detection(
    detector: Detector, dataset: Dataset, models: list[ServedModel], outputs: ModelOutputs
) -> Figures:
    """Every out-of-distribution score on the evaluation sets and the synthetic families; the detector's histograms."""
    last, train = models[-1], dataset.train
    inliers = detector_training.inlier_outputs(last.run, train)
    families = detector_training.synthetic_outlier_outputs(last.run, train)
    pixels = {name: preprocess_all(pictures()) for name, pictures in outlier_sets.SETS.items()}
    outlier_outputs = {name: last.run(pictures) for name, pictures in pixels.items()}
    pixels |= {name: serving_pixels(split.pixels).numpy() for name, split in _splits(dataset).items()}
    all_outputs, validation = outputs[last.name] | outlier_outputs, outputs[last.name]["validation"]
    # the distances do worse with the varied pictures, which come last
    unchanged = Outputs(*(array[: detector_training.MAX_UNCHANGED] for array in inliers))
    scores = detector_comparison.ood_scores(unchanged, detector)

    def flagged(name: str, found: Outputs) -> float | None:
        return _fraction_flagged(last.correct_quarter_turns(pixels[name], last.predictions(found)))

    return {
        "measured_on": last.name,
        "threshold": last.threshold,
        "n": {name: len(found.logits) for name, found in all_outputs.items()},
        "judged": detector_comparison.compare(scores, validation, outlier_outputs),
        "families": detector_comparison.compare(scores, validation, families),
        "left_out": detector_comparison.leave_one_family_out(inliers, families, validation),
        "flagged": {name: flagged(name, found) for name, found in all_outputs.items()},
        "histograms": {name: _histogram(detector.score(*found)) for name, found in all_outputs.items()},
    }


def measure_robustness(dataset: Dataset, model: ServedModel, pool: ProcessPool, group: str) -> Figures:
    """One group's rows of model.evaluate.robustness, on the first ROBUSTNESS_PICTURES test pictures."""
    test = dataset.test[:ROBUSTNESS_PICTURES]
    rows = robustness.measure_rows(model, test.pixels.numpy(), _labels(test), pool, group)
    return {"n": len(test), "rows": [asdict(row) for row in rows]}


def join_robustness(figures: Figures) -> Figures:
    """Removes the groups' rows from the figures and joins them to one table, with the clean row only once."""
    groups = [figures.pop(ROBUSTNESS_KEY + group) for group in GROUPS]
    clean, *_ = groups[0]["rows"]
    return {"n": groups[0]["n"], "rows": [clean, *(row for group in groups for row in group["rows"][1:])]}


def require_detector(checkpoint: Checkpoint) -> Detector:
    """The checkpoint's detector. Raises CheckpointError if it has none."""
    if checkpoint.detector is None:
        raise CheckpointError(f"{checkpoint.file} has no detector: run python -m model.calibrate")
    return checkpoint.detector


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts, int64 [classes,classes]: rows are the true class, columns the predicted one."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _machine() -> str:
    """The processor and the number of its cores that this process may use."""
    if sys.platform != "linux":
        return platform.platform()
    name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{len(os.sched_getaffinity(0))} cores, {name[1] if name else platform.machine()}"


def _splits(dataset: Dataset) -> dict[str, Split]:
    return {"validation": dataset.validation, "test": dataset.test}


def _labels(split: Split) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = split.labels.numpy()
    return labels


def _calibration_of(model: ServedModel, outputs: dict[str, Outputs], labels: Labels) -> Figures:
    figures: Figures = {"temperature": model.temperature, "threshold": model.threshold}
    for split, found in outputs.items():
        predictions = model.predictions(found)
        reliability = measure_reliability(predictions.probabilities, labels[split])
        figures[split] = asdict(reliability) | {"flagged": _fraction_flagged(predictions)}
    return figures


def _fraction_flagged(predictions: Predictions) -> float | None:
    return None if predictions.flagged is None else float(predictions.flagged.mean())


def _calibration_steps(outputs: dict[str, Outputs], labels: Labels, smoothing: float) -> Figures:
    """As trained; with the temperature; with label smoothing removed; with both. Fitted on the validation pictures."""
    steps: Figures = {}
    for removed in dict.fromkeys((0.0, smoothing)):
        fitted = fit_temperature(remove_label_smoothing(outputs["validation"].logits, removed), labels["validation"])
        for temperature in (1.0, fitted):
            steps[f"smoothing {removed:g} taken out, temperature {temperature:.3f}"] = {
                split: asdict(measure_reliability(probabilities(found.logits, temperature, removed), labels[split]))
                for split, found in outputs.items()
            }
    return steps


def _hardest(found: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Figures]:
    """The wrong answers with the highest confidence."""
    confidence = np.where(found.argmax(1) == labels, 0, found.max(1))
    return [
        {"picture": int(i), "true": int(labels[i]), "said": int(found[i].argmax()), "confidence": float(confidence[i])}
        for i in np.argsort(-confidence)[:HARDEST_PICTURES]
        if confidence[i]
    ]


def _histogram(scores: NDArray[np.float32]) -> list[float]:
    """Fraction of the scores in each bin."""
    counts, _ = np.histogram(scores.clip(*HISTOGRAM_LIMITS), bins=HISTOGRAM_BINS, range=HISTOGRAM_LIMITS)
    return [round(float(count), 5) for count in counts / len(scores)]
