"""Every figure of the model card, measured on a checkpoint, its exports and its data, as plain values for JSON."""

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
from numpy.typing import NDArray

from model.calibrate import detector_training
from model.calibrate.reliability import diagram, fit_temperature, measure
from model.checkpoint import Checkpoint, CheckpointError
from model.data import Dataset, Split
from model.evaluate import detector_comparison, outlier_sets, robustness
from model.evaluate.served_precisions import Answers, Served, ways
from model.labels import probabilities, remove_label_smoothing
from model.ood_detector import Detector
from model.predict import Outputs, preprocess_all, serving_pixels
from model.synthetic.uploads import GROUPS

HARDEST = 24

REMADE = 1000
"""Test pictures that each recipe of model.synthetic.uploads is measured on."""

REMADE_AS = "remade, "
"""Each group of recipes is a part of its own: a run that is stopped goes on with the next."""

HISTOGRAM = (-20.0, 20.0, 60)
"""Of out-of-distribution scores: first edge, last edge, bins; what is beyond counts in the outermost."""

Figures = dict[str, Any]
Labels = dict[str, NDArray[np.int64]]
""""validation" and "test"."""


Found = dict[str, dict[str, Outputs]]
"""By way and split."""


def parts(checkpoint: Checkpoint, dataset: Dataset, pool: ProcessPool) -> dict[str, Callable[[], Any]]:
    """Everything, by name, to be measured when called. Raises CheckpointError if the checkpoint has no detector."""
    served, detector = ways(checkpoint), detector_of(checkpoint)
    found = cache(lambda: outputs(served, dataset))
    return {
        "classes": lambda: list(checkpoint.metadata.classes),
        "smoothing": lambda: checkpoint.metadata.smoothing,
        "history": lambda: checkpoint.metadata.training["history"],
        "machine": _machine,
        "calibration": lambda: calibration(checkpoint, dataset, served, found()),
        "outliers": lambda: outliers(detector, dataset, served, found()),
        **{REMADE_AS + group: partial(remade, dataset, served[-1], pool, group) for group in GROUPS},
    }


def outputs(served: list[Served], dataset: Dataset) -> Found:
    """What the validation and the test pictures get, each way."""
    return {
        way.name: {name: way.run(serving_pixels(split.pixels).numpy()) for name, split in _splits(dataset).items()}
        for way in served
    }


def calibration(checkpoint: Checkpoint, dataset: Dataset, served: list[Served], found: Found) -> Figures:
    """Calibration of every way, and of the last one what each step is worth, its confusion and worst mistakes."""
    smoothing = checkpoint.metadata.smoothing
    labels = {"validation": _labels(dataset.validation), "test": _labels(dataset.test)}
    last = served[-1]
    test = found[last.name]["test"]
    shipped = last.answers(test).probabilities
    return {
        "engines": {way.name: _engine(way, found[way.name], labels) for way in served},
        "steps": _steps(found[last.name], labels, smoothing),
        "measured_on": last.name,
        "diagram": {
            "as trained": diagram(probabilities(test.logits, 1.0, 0.0), labels["test"]),
            "shipped": diagram(shipped, labels["test"]),
        },
        "confusion": _confusion(shipped, labels["test"]),
        "hardest": _hardest(shipped, labels["test"]),
    }


def outliers(detector: Detector, dataset: Dataset, served: list[Served], found: Found) -> Figures:
    """Every way to tell strangers on every judged set and every family; the detector's scores as histograms."""
    last, train = served[-1], dataset.train
    known = detector_training.garments(last.run, train)
    seen = {kind: preprocess_all(draw()) for kind, draw in outlier_sets.SETS.items()}
    judged = {kind: last.run(pixels) for kind, pixels in seen.items()}
    families = detector_training.drawn(last.run, train)
    plain = Outputs(
        *(part[: detector_training.GARMENTS] for part in known)
    )  # the distances do worse with the varied ones
    scores = detector_comparison.scores(plain, detector)
    sets = found[last.name] | judged
    seen |= {name: serving_pixels(split.pixels).numpy() for name, split in _splits(dataset).items()}
    return {
        "measured_on": last.name,
        "threshold": last.threshold,
        "n": {kind: len(outputs.logits) for kind, outputs in sets.items()},
        "judged": detector_comparison.compare(scores, found[last.name]["validation"], judged),
        "families": detector_comparison.compare(scores, found[last.name]["validation"], families),
        "left_out": detector_comparison.left_out(known, families, found[last.name]["validation"]),
        "flagged": {kind: _flagged(last.righted(seen[kind], last.answers(got))) for kind, got in sets.items()},
        "histograms": {kind: _histogram(detector.score(*outputs)) for kind, outputs in sets.items()},
    }


def remade(dataset: Dataset, served: Served, pool: ProcessPool, group: str) -> Figures:
    """Accuracy, calibration error, shares flagged and misled on re-made test pictures, the first REMADE, by recipe."""
    test = dataset.test[:REMADE]
    rows = robustness.rows(served, test.pixels.numpy(), _labels(test), pool, group)
    return {"n": len(test), "rows": [asdict(row) for row in rows]}


def joined(figures: Figures) -> Figures:
    """All groups' rows out of the figures, as those of one table: the clean row, which each has, but once."""
    parts = [figures.pop(REMADE_AS + group) for group in GROUPS]
    clean, *_ = parts[0]["rows"]
    return {"n": parts[0]["n"], "rows": [clean, *(row for part in parts for row in part["rows"][1:])]}


def detector_of(checkpoint: Checkpoint) -> Detector:
    if checkpoint.detector is None:
        raise CheckpointError(f"{checkpoint.file} has no detector: run python -m model.calibrate")
    return checkpoint.detector


def _engine(served: Served, found: dict[str, Outputs], labels: Labels) -> Figures:
    figures: Figures = {"temperature": served.temperature, "threshold": served.threshold}
    for split, outputs in found.items():
        answers = served.answers(outputs)
        figures[split] = asdict(measure(answers.probabilities, labels[split])) | {"flagged": _flagged(answers)}
    return figures


def _machine() -> str:
    """Processor and how many of its cores may be used, for the record."""
    if sys.platform != "linux":
        return platform.platform()
    name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{len(os.sched_getaffinity(0))} cores, {name[1] if name else platform.machine()}"


def _splits(dataset: Dataset) -> dict[str, Split]:
    return {"validation": dataset.validation, "test": dataset.test}


def _labels(split: Split) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = split.labels.numpy()
    return labels


def _flagged(answers: Answers) -> float | None:
    return None if answers.flagged is None else float(answers.flagged.mean())


def _steps(found: dict[str, Outputs], labels: Labels, smoothing: float) -> Figures:
    """As trained; with the best temperature; with label smoothing taken out; and with both. Fitted on validation."""
    steps: Figures = {}
    for taken_out in dict.fromkeys((0.0, smoothing)):
        fitted = fit_temperature(remove_label_smoothing(found["validation"].logits, taken_out), labels["validation"])
        for temperature in (1.0, fitted):
            steps[f"smoothing {taken_out:g} taken out, temperature {temperature:.3f}"] = {
                split: asdict(measure(probabilities(got.logits, temperature, taken_out), labels[split]))
                for split, got in found.items()
            }
    return steps


def _confusion(found: NDArray[np.float32], labels: NDArray[np.int64]) -> list[list[int]]:
    """Counts: rows are the true class, columns the predicted one."""
    classes = found.shape[1]
    counts = np.bincount(labels * classes + found.argmax(1), minlength=classes**2)
    return [[int(count) for count in row] for row in counts.reshape(classes, classes)]


def _hardest(found: NDArray[np.float32], labels: NDArray[np.int64]) -> list[Figures]:
    """The wrong answers given with the most confidence."""
    confidence = np.where(found.argmax(1) == labels, 0, found.max(1))
    return [
        {"picture": int(i), "true": int(labels[i]), "said": int(found[i].argmax()), "confidence": float(confidence[i])}
        for i in np.argsort(-confidence)[:HARDEST]
        if confidence[i]
    ]


def _histogram(scores: NDArray[np.float32]) -> list[float]:
    """Share of the pictures in each bin of HISTOGRAM."""
    first, last, bins = HISTOGRAM
    counts, _ = np.histogram(scores.clip(first, last), bins=bins, range=(first, last))
    return [round(float(count), 5) for count in counts / len(scores)]
