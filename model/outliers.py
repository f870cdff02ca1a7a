"""Is this a garment at all? A small network on the last features, and the threshold that goes with it.

One hidden layer, fitted once by model.calibrate on garments and on synthetic strangers (Hendrycks et
al., "Deep anomaly detection with outlier exposure", ICLR 2019, but behind the frozen network); here it
is only run, in numpy, for every engine alike.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEPT = 0.955
"""Share of the validation pictures that stay below an export's threshold: 95 %, and room for another CPU's rounding."""

NEAR = 1.0
"""A picture whose score is less than this below the threshold, or above it, is looked at in its other turns too."""

CLEARLY = 2.0
"""How far below the threshold the score of a turn is to be for it to be answered."""

CONFIDENT = 0.93
"""Its likeliest class's probability from which on it is not called out of distribution any more."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Detector:
    """Features and energy → score, the log odds of being a stranger: higher is stranger."""

    hidden_weight: Floats
    """[1025,hidden]: of the 1024 pooled features and the energy, not standardised."""
    hidden_bias: Floats
    """[hidden]."""
    output_weight: Floats
    """[hidden]."""
    output_bias: Floats
    """[1]."""

    def score(self, logits: Floats, features: Floats) -> Floats:
        """float32 [n,classes], before temperature, and [n,1024] → float32 [n]."""
        hidden = features @ self.hidden_weight[:-1] + energy(logits)[:, None] * self.hidden_weight[-1]
        hidden += self.hidden_bias
        scores: Floats = np.maximum(hidden, 0) @ self.output_weight + self.output_bias
        return scores


def energy(logits: Floats) -> Floats:
    """Liu et al., "Energy-based out-of-distribution detection" (NeurIPS 2020), float32 [n]: higher is stranger."""
    largest = logits.max(axis=1, keepdims=True)
    free: Floats = -(largest[:, 0] + np.log(np.exp(logits - largest).sum(axis=1)))
    return free


def threshold(scores: Floats, kept: float = KEPT) -> float:
    """The least score that at least this share of `scores` do not exceed."""
    return float(np.sort(scores)[max(0, int(np.ceil(kept * len(scores))) - 1)])


def best_turn(excess: Floats, confidence: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of n pictures that are at least NEAR: how many quarter turns to answer by, and which are strange all the same.

    Both [4,n], by quarter turns, 0 first: the scores less the threshold, and the likeliest class's probability. The
    least strange turn is taken if it is CLEARLY a garment. It is flagged unless its class is CONFIDENT: as the picture
    lies it is strange or nearly so. Otherwise the picture stays as it is. → int64 [n], bool [n].
    """
    least = 1 + excess[1:].argmin(axis=0)
    pictures = np.arange(len(least))
    turned = excess[least, pictures] < -CLEARLY
    strange = np.where(turned, confidence[least, pictures] < CONFIDENT, excess[0] > 0)
    return np.where(turned, least, 0), strange
