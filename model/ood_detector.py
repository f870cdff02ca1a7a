"""The out-of-distribution detector: a small network on GoogLeNet's features that says if a picture shows a garment.

It has one hidden layer. model.calibrate trains it on garments and synthetic outliers, with GoogLeNet frozen
(outlier exposure: Hendrycks et al., "Deep anomaly detection with outlier exposure", ICLR 2019). Here it is only
evaluated, in numpy, for all engines.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEPT = 0.955
"""Share of the validation pictures that stay below an export's threshold: 95 %, and room for another CPU's rounding."""

CLEARLY, CONFIDENT = 2.0, 0.85
"""How far below the threshold the score of a turned picture is to be, and the likeliest class's probability."""

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
    """The least score that at least this share of `scores` do not exceed."""
    return float(np.sort(scores)[max(0, int(np.ceil(kept * len(scores))) - 1)])


def clearly_known(probabilities: Floats, scores: Floats, limit: float) -> NDArray[np.bool_]:
    """[n,classes] and [n] → which of n pictures are garments with little doubt, [n]."""
    clear: NDArray[np.bool_] = (scores < limit - CLEARLY) & (probabilities.max(axis=1) >= CONFIDENT)
    return clear
