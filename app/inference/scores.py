"""Engine outputs → probabilities and out-of-distribution score of each picture."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.inference.engines.base import Engine
from model.checkpoint import Checkpoint
from model.labels import probabilities
from model.ood_detector import best_turn, needs_rotation_check


class Scores(NamedTuple):
    """The network's result for one picture."""

    probabilities: NDArray[np.float32]
    """[classes]."""
    class_id: int
    """Index of the most likely class."""
    logits: NDArray[np.float32]
    """[classes], before temperature."""
    maps: NDArray[np.float32]
    """[classes,3,3], class activation maps: a view into the batch's array."""
    ood_score: float | None
    """Higher is less like the training data; None if the checkpoint has no detector."""
    ood_excess: float | None
    """`ood_score` minus the engine's threshold; None if there is no score."""
    out_of_distribution: bool | None
    """Whether `ood_excess` is above 0, or as `choose_turn` decides; None if there is no score."""
    needs_rotation_check: bool
    """Whether the picture should be tried in its other quarter turns."""
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
    parts = zip(rows, rows.argmax(axis=1).tolist(), outputs.logits, outputs.maps, strict=True)
    if ood_scores is None or threshold is None:
        return [Scores(*part, None, None, None, False, checkpoint.version) for part in parts]
    excess = ood_scores - np.float32(threshold)
    columns = ood_scores.tolist(), excess.tolist(), (excess > 0).tolist(), needs_rotation_check(excess).tolist()
    return [
        Scores(*part, *values, checkpoint.version)
        for part, values in zip(parts, zip(*columns, strict=True), strict=True)
    ]


def unclear_pictures(scores: Sequence[Scores | None], may_rotate: Sequence[bool]) -> list[int]:
    """Indices of the pictures to try in their other quarter turns, of those that may be rotated and have scores."""
    return [i for i, each in enumerate(scores) if may_rotate[i] and each is not None and each.needs_rotation_check]


def rotate_by_quarters(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A picture [96,96] rotated by 90, 180 and 270° counter-clockwise."""
    return [np.rot90(pixels, quarter) for quarter in (1, 2, 3)]


def choose_turn(scores: Scores, rotated: Sequence[Scores]) -> tuple[Scores, int]:
    """The scores to answer with, and the degrees by which the picture is rotated for them, counter-clockwise.

    `rotated` are the scores of what `rotate_by_quarters` returns. model.ood_detector.best_turn makes the choice.
    """
    candidates = [scores, *rotated]
    excess = [[candidate.ood_excess] for candidate in candidates if candidate.ood_excess is not None]
    if len(excess) < len(candidates):
        return scores, 0
    confidence = [[candidate.probabilities.max()] for candidate in candidates]
    ((turn,), (is_outlier,)) = best_turn(np.array(excess, np.float32), np.array(confidence, np.float32))
    return candidates[turn]._replace(out_of_distribution=bool(is_outlier)), 90 * int(turn)
