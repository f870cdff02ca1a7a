"""Engine → what is said about each picture, with a server around it or without."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.engine import Engine
from model.checkpoint import Checkpoint
from model.labels import probabilities
from model.outliers import NEAR, best_turn


@dataclass(frozen=True)
class Scores:
    """What the network says about one picture."""

    probabilities: NDArray[np.float32]
    """[classes]."""
    logits: NDArray[np.float32]
    """[classes], before temperature."""
    maps: NDArray[np.float32]
    """[classes,3,3], a view into the batch's: class activation maps, as in app.engine.Outputs."""
    ood_score: float | None
    """Higher is stranger; None, and so the next two, where the checkpoint has no detector."""
    excess: float | None
    """The score less the engine's threshold."""
    out_of_distribution: bool | None
    """Whether that is above 0; of a picture that was turned, as `righted` has it."""
    version: str
    """Of the checkpoint that says it."""

    @property
    def doubtful(self) -> bool:
        """Whether the picture is out of distribution or nearly so: to be looked at in its other quarter turns."""
        return self.excess is not None and self.excess > -NEAR


def score(engine: Engine, checkpoint: Checkpoint, pixels: NDArray[np.uint8]) -> list[Scores]:
    """uint8 [n,96,96] → n scores. Raises FloatingPointError for what is no number."""
    outputs = engine(pixels)
    rows = probabilities(outputs.logits, engine.temperature, checkpoint.metadata.smoothing)
    detector, threshold = checkpoint.detector, engine.threshold
    strange = None if detector is None else detector.score(outputs.logits, outputs.features)
    if not all(np.isfinite(values).all() for values in (rows, outputs.maps, strange) if values is not None):
        raise FloatingPointError("the engine gave something that is not a number")
    parts = zip(rows, outputs.logits, outputs.maps, strict=True)
    if strange is None or threshold is None:
        return [Scores(*part, None, None, None, checkpoint.version) for part in parts]
    return [
        Scores(*part, found, found - threshold, found > threshold, checkpoint.version)
        for part, found in zip(parts, strange.tolist(), strict=True)
    ]


def turns(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """A picture [96,96] turned by 90, 180 and 270° counter-clockwise."""
    return [np.rot90(pixels, quarter) for quarter in (1, 2, 3)]


def righted(scores: Scores, turned: Sequence[Scores]) -> tuple[Scores, int]:
    """Of a doubtful picture the scores by which to answer, and the degrees by which it is turned for that.

    `turned` are those of its `turns`; model.outliers.best_turn chooses. Without a detector in one, as it lies.
    """
    looks = [scores, *turned]
    excess = [[look.excess] for look in looks if look.excess is not None]
    if len(excess) < len(looks):
        return scores, 0
    confidence = [[look.probabilities.max()] for look in looks]
    ((turn,), (strange,)) = best_turn(np.array(excess, np.float32), np.array(confidence, np.float32))
    return replace(looks[turn], out_of_distribution=bool(strange)), 90 * int(turn)
