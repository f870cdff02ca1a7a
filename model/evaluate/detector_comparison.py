"""Ways to tell strangers from garments, side by side: maximum logit, energy, two distances, the detector.

Each is a score, higher is stranger. The distances are fitted on training pictures' features as they are;
energy and maximum logit need nothing. The choice between them is made on families
of drawn strangers that the detector was not shown (`left_out`), the judged sets are only reported.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.calibrate import detector_training
from model.ood_detector import Detector, energy, threshold
from model.predict import Outputs

Score = Callable[[Outputs], NDArray[np.float32]]

NEIGHBOUR = 50
"""Which nearest training picture's distance counts (Sun et al., ICML 2022)."""

RIDGE = 1e-4
"""Added to the covariance's diagonal: some features hardly vary."""

Figures = dict[str, float]


def scores(known: Outputs, detector: Detector) -> dict[str, Score]:
    """Every way, by name; `known` are training pictures' outputs."""
    return {
        "maximum logit": lambda outputs: -outputs.logits.max(1),
        "energy": lambda outputs: energy(outputs.logits),
        "Mahalanobis distance": _mahalanobis(known),
        f"distance to the {NEIGHBOUR}th neighbour": _neighbour(known),
        "detector": lambda outputs: detector.score(*outputs),
    }


def compare(ways: dict[str, Score], validation: Outputs, sets: dict[str, Outputs]) -> dict[str, dict[str, Figures]]:
    """Per way and set: AUROC, FPR at 95 % of the set found, and share flagged, all against the validation pictures."""
    return {
        way: {name: _separation(score(validation), score(outputs)) for name, outputs in sets.items()}
        for way, score in ways.items()
    }


def left_out(known: Outputs, families: dict[str, Outputs], validation: Outputs) -> dict[str, Figures]:
    """What the detector makes of each family when it is fitted on all the others."""
    figures = {}
    for family, outputs in families.items():
        others = [found for name, found in families.items() if name != family]
        detector = detector_training.fit(known, others)
        figures[family] = _separation(detector.score(*validation), detector.score(*outputs))
    return figures


def auroc(known: NDArray[np.floating], strange: NDArray[np.floating]) -> float:
    """How often a stranger scores higher than a garment; ties count half."""
    _, inverse, counts = np.unique(np.concatenate([known, strange]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[len(known) :].sum() - len(strange) * (len(strange) + 1) / 2
    return float(above / (len(known) * len(strange)))


def _separation(known: NDArray[np.floating], strange: NDArray[np.floating]) -> Figures:
    return {
        "auroc": auroc(known, strange),
        "fpr95": float((known >= np.quantile(strange, 0.05)).mean()),
        "flagged": float((strange > threshold(known)).mean()),
    }


def _mahalanobis(known: Outputs) -> Score:
    """Lee et al. (NeurIPS 2018): to the nearest class mean, one covariance; classes as the network sees them."""
    classes = known.logits.argmax(1)
    features = known.features.astype(np.float64)
    means = np.stack([features[classes == k].mean(0) for k in np.unique(classes)])
    centred = features - means[np.searchsorted(np.unique(classes), classes)]
    precision = np.linalg.inv(centred.T @ centred / len(features) + RIDGE * np.eye(features.shape[1]))

    def score(outputs: Outputs) -> NDArray[np.float32]:
        x = outputs.features.astype(np.float64)
        projected = x @ precision
        squares = (projected * x).sum(1)[:, None] - 2 * projected @ means.T + ((means @ precision) * means).sum(1)
        nearest: NDArray[np.float32] = squares.min(1).astype(np.float32)
        return nearest

    return score


def _neighbour(known: Outputs) -> Score:
    bank = known.features / np.linalg.norm(known.features, axis=1, keepdims=True)

    def score(outputs: Outputs) -> NDArray[np.float32]:
        x = outputs.features / np.linalg.norm(outputs.features, axis=1, keepdims=True).clip(1e-9)
        parts = [1 - np.partition(part @ bank.T, -NEIGHBOUR, axis=1)[:, -NEIGHBOUR] for part in _chunks(x)]
        distances: NDArray[np.float32] = np.concatenate(parts)
        return distances

    return score


def _chunks(x: NDArray[np.float32], size: int = 500) -> list[NDArray[np.float32]]:
    return [x[i : i + size] for i in range(0, len(x), size)]
