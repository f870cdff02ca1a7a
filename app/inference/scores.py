"""Engine outputs → probabilities and out-of-distribution score of each picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inference.engines.base import Engine
from model.checkpoint import Checkpoint
from model.labels import probabilities
from model.ood_detector import clearly_known


@dataclass(frozen=True)
class Scores:
    """The network's result for one picture."""

    probabilities: NDArray[np.float32]
    """[classes]."""
    logits: NDArray[np.float32]
    """[classes], before temperature."""
    maps: NDArray[np.float32]
    """[classes,3,3], class activation maps: a view into the batch's array."""
    ood_score: float | None
    """Higher is less like the training data; None if the checkpoint has no detector."""
    out_of_distribution: bool | None
    """Whether `ood_score` is above the engine's threshold; None if there is no score."""
    clearly_known: bool
    """Whether `ood_score` is far below the threshold and the most likely class has a high probability."""
    version: str
    """The checkpoint's version."""


def score(engine: Engine, checkpoint: Checkpoint, pixels: NDArray[np.uint8]) -> list[Scores]:
    """uint8 [n,96,96] → n scores. Raises FloatingPointError if an output is NaN or infinite."""
    outputs = engine(pixels)
    rows = probabilities(outputs.logits, engine.temperature, checkpoint.metadata.smoothing)
    detector, threshold = checkpoint.detector, engine.threshold
    ood_scores = None if detector is None else detector.score(outputs.logits, outputs.features)
    if not all(np.isfinite(values).all() for values in (rows, outputs.maps, ood_scores) if values is not None):
        raise FloatingPointError("the engine gave something that is not a number")
    parts = zip(rows, outputs.logits, outputs.maps, strict=True)
    if ood_scores is None or threshold is None:
        return [Scores(*part, None, None, False, checkpoint.version) for part in parts]
    known = clearly_known(rows, ood_scores, threshold)
    return [
        Scores(*part, ood_score, ood_score > threshold, is_known, checkpoint.version)
        for part, ood_score, is_known in zip(parts, ood_scores.tolist(), known.tolist(), strict=True)
    ]


def turns(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A picture [96,96] turned by 90, 180 and 270° counter-clockwise."""
    return [np.rot90(pixels, quarter) for quarter in (1, 2, 3)]


def righted(scores: Scores, turned: Sequence[Scores]) -> tuple[Scores, int]:
    """Of a strange picture the scores by which to answer, and the degrees by which it is turned for that.

    `turned` are those of its `turns`; the least strange is taken if that is clearly a garment.
    """
    least, degrees = min(zip(turned, (90, 180, 270), strict=True), key=lambda entry: entry[0].ood_score or 0.0)
    return (least, degrees) if least.clearly_known else (scores, 0)
