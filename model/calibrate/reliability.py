"""Calibration metrics of predicted probabilities, the reliability diagram, and the fit of the temperature.

Guo et al., "On calibration of modern neural networks" (ICML 2017); class-wise error after Kull et al. (NeurIPS 2019).
The functions take probabilities or logits float [n,classes] and labels int [n] as numpy arrays.
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
    """The metrics of one set of pictures."""

    n: int
    accuracy: float
    """Fraction of the pictures classified correctly."""
    ece: float
    """Expected calibration error: |confidence - accuracy| in 15 equal bins, averaged over the pictures; 0 to 1."""
    classwise_ece: float
    """The same for the probability and the frequency of each class, averaged over the classes; 0 to 1."""
    nll: float
    """Negative log likelihood of the true class, in nats per picture."""
    brier: float
    """Brier score: squared error summed over the classes, averaged over the pictures; 0 to 2."""


def measure_reliability(probabilities: Floats, labels: Labels) -> Reliability:
    p = probabilities.astype(np.float64)
    one_hot = np.eye(p.shape[1])[labels]
    correct = p.argmax(1) == labels
    return Reliability(
        n=len(labels),
        accuracy=float(correct.mean()),
        ece=_calibration_error(p.max(1), correct),
        classwise_ece=float(np.mean([_calibration_error(p[:, k], one_hot[:, k]) for k in range(p.shape[1])])),
        nll=float(-np.log(p[np.arange(len(p)), labels].clip(1e-12)).mean()),
        brier=float(((p - one_hot) ** 2).sum(1).mean()),
    )


def reliability_diagram(probabilities: Floats, labels: Labels) -> list[tuple[int, float, float]]:
    """For each bin of confidence: number of pictures, mean confidence, accuracy; (0, 0, 0) for an empty bin."""
    confidence, correct = probabilities.max(1).astype(np.float64), probabilities.argmax(1) == labels
    bins, rows = _bins(confidence), []
    for inside in (bins == b for b in range(BINS)):
        n = int(inside.sum())
        rows.append((n, float(confidence[inside].mean()), float(correct[inside].mean())) if n else (0, 0.0, 0.0))
    return rows


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The temperature between 0.05 and 20 that minimises the negative log likelihood.

    There is one minimum; a golden-section search over the temperature's logarithm finds it. If no picture is
    misclassified, the likelihood grows as the temperature falls, however low, so the lower bound is 1.
    """
    scores = logits.astype(np.float64)
    has_errors = bool((scores.argmax(1) != labels).any())

    def nll(log_temperature: float) -> float:
        p = softmax(scores, float(np.exp(log_temperature)))
        return float(-np.log(p[np.arange(len(p)), labels].clip(1e-300)).mean())

    low, high = np.log(0.05 if has_errors else 1.0), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if nll(a) < nll(b) else (a, high)
    return float(np.exp((low + high) / 2))


def _bins(values: Floats) -> NDArray[np.int64]:
    return np.minimum((values * BINS).astype(np.int64), BINS - 1)


def _calibration_error(predicted: Floats, observed: Floats) -> float:
    gaps = np.bincount(_bins(predicted), weights=predicted - observed, minlength=BINS)
    return float(np.abs(gaps).sum() / len(predicted))
