"""The out-of-distribution detector: a small network on GoogLeNet's features that says if a picture shows a garment.

It has one hidden layer. model.calibrate trains it on garments and synthetic outliers, with GoogLeNet frozen
(outlier exposure: Hendrycks et al., "Deep anomaly detection with outlier exposure", ICLR 2019). Here it is only
evaluated, in numpy, for all engines.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEPT = 0.955
"""Share of the validation pictures below an export's threshold: 95 %, and a margin for rounding on other CPUs."""

FAR_ABOVE, JUST_BELOW = 1.5, 0.7
"""A picture is tried in its other quarter turns if its score is more than FAR_ABOVE above the threshold, or at most
JUST_BELOW below it. Nine in ten turned garments are far above it. Those just below it would not be flagged. Pictures
in between are flagged, and most are upright."""

TURN_ACCEPTED_BELOW = 2.0
"""A turn is accepted if its score is at least this far below the threshold."""

TURN_CONFIDENCE = 0.93
"""A turned picture stays out of distribution if its most likely class has a lower probability."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Detector:
    """Features and energy → score: the log odds that a picture is out of distribution."""

    hidden_weight: Floats
    """[1025,hidden]: for the 1024 pooled features and the energy, none of them standardised."""
    hidden_bias: Floats
    """[hidden]."""
    output_weight: Floats
    """[hidden]."""
    output_bias: Floats
    """[1]."""

    def score(self, logits: Floats, features: Floats) -> Floats:
        """Logits [n,classes], before temperature, and features [n,1024] → scores [n], all float32."""
        hidden = features @ self.hidden_weight[:-1] + energy(logits)[:, None] * self.hidden_weight[-1]
        hidden += self.hidden_bias
        scores: Floats = np.maximum(hidden, 0) @ self.output_weight + self.output_bias
        return scores


def energy(logits: Floats) -> Floats:
    """Logits [n,classes] → energy, float32 [n]; higher is less like the training data (Liu et al., NeurIPS 2020)."""
    largest = logits.max(axis=1, keepdims=True)
    values: Floats = -(largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1)))
    return values


def threshold(scores: Floats, kept: float = KEPT) -> float:
    """The lowest value that at least the share `kept` of `scores` does not exceed."""
    return float(np.sort(scores)[max(0, int(np.ceil(kept * len(scores))) - 1)])


def needs_rotation_check(excess: Floats) -> NDArray[np.bool_]:
    """Scores minus the threshold, [n] → whether the picture is tried in its other quarter turns, [n]."""
    needed: NDArray[np.bool_] = (excess > FAR_ABOVE) | ((excess <= 0) & (excess >= -JUST_BELOW))
    return needed


def best_turn(excess: Floats, confidence: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Chooses the orientation of n pictures that need a rotation check.

    Both arguments are float32 [4,n], by the number of quarter turns: the score minus the threshold, and the
    probability of the most likely class. The turn with the lowest score is accepted if that is far enough below the
    threshold. Returns the number of quarter turns, int64 [n], and whether the picture is out of distribution, bool [n].
    """
    lowest = 1 + excess[1:].argmin(axis=0)
    pictures = np.arange(len(lowest))
    accepted = excess[lowest, pictures] < -TURN_ACCEPTED_BELOW
    out_of_distribution = np.where(accepted, confidence[lowest, pictures] < TURN_CONFIDENCE, excess[0] > 0)
    return np.where(accepted, lowest, 0), out_of_distribution
