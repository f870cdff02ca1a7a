"""Engine outputs → probabilities and out-of-distribution score of each picture."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.inference.engines.base import Engine
from model.checkpoint import Checkpoint
from model.labels import probabilities
from model.ood_detector import needs_rotation_check


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
    """Whether `ood_excess` is above 0, or as quarter_turns.choose_turn decides; None if there is no score."""
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
