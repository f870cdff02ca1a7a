"""How far probabilities can be taken at their word: calibration error, likelihood, Brier score, and the temperature.

Guo et al., "On calibration of modern neural networks" (ICML 2017); class-wise error after Kull et al.
(NeurIPS 2019). Everything takes probabilities float [n,classes] and labels int [n] as numpy arrays.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.labels import softmax

BINS = 15

Floats = NDArray[np.floating]
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Reliability:
    """The figures of one set of pictures; all but `nll` are fractions."""

    n: int
    accuracy: float
    ece: float
    """Expected calibration error: confidence against accuracy in 15 equal bins, weighted by their pictures."""
    classwise_ece: float
    """The same for every class's probability against that class's frequency, averaged over the classes."""
    nll: float
    """Negative log likelihood of the right class, nats a picture."""
    brier: float
    """Squared error summed over the classes, averaged over the pictures: 0 to 2."""


def measure(probabilities: Floats, labels: Labels) -> Reliability:
    p = probabilities.astype(np.float64)
    right = np.eye(p.shape[1])[labels]
    hit = p.argmax(1) == labels
    return Reliability(
        n=len(labels),
        accuracy=float(hit.mean()),
        ece=_calibration_error(p.max(1), hit),
        classwise_ece=float(np.mean([_calibration_error(p[:, k], right[:, k]) for k in range(p.shape[1])])),
        nll=float(-np.log(p[np.arange(len(p)), labels].clip(1e-12)).mean()),
        brier=float(((p - right) ** 2).sum(1).mean()),
    )


def diagram(probabilities: Floats, labels: Labels) -> list[tuple[int, float, float]]:
    """Per bin of confidence: pictures, mean confidence, accuracy; 0 and 0 where there are none."""
    confidence, hit = probabilities.max(1).astype(np.float64), probabilities.argmax(1) == labels
    bins = _bins(confidence)
    inside = [bins == b for b in range(BINS)]
    return [
        (int(i.sum()), float(confidence[i].mean()), float(hit[i].mean())) if i.any() else (0, 0.0, 0.0) for i in inside
    ]


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The temperature of the least negative log likelihood, between 0.05 and 20.

    The likelihood has one minimum in it, found by golden-section search on its logarithm.
    """
    scores = logits.astype(np.float64)

    def nll(log_temperature: float) -> float:
        p = softmax(scores, float(np.exp(log_temperature)))
        return float(-np.log(p[np.arange(len(p)), labels].clip(1e-300)).mean())

    low, high = np.log(0.05), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if nll(a) < nll(b) else (a, high)
    return float(np.exp((low + high) / 2))


def _bins(values: Floats) -> NDArray[np.int64]:
    return np.minimum((values * BINS).astype(np.int64), BINS - 1)


def _calibration_error(predicted: Floats, happened: Floats) -> float:
    gaps = np.bincount(_bins(predicted), weights=predicted - happened, minlength=BINS)
    return float(np.abs(gaps).sum() / len(predicted))
