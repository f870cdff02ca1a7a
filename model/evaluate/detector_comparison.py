"""Compares the shipped out-of-distribution detector with four other scores from the literature.

In every score a higher value means less like a garment. The two distances are fitted on the features of unchanged
training pictures. The choice between the scores was made on synthetic outlier families that the detector had not been
trained on (`leave_one_family_out`). The evaluation sets are only reported.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from model.calibrate.detector_training import fit_detector
from model.ood_detector import Detector, energy, threshold
from model.predict import Outputs

Score = Callable[[Outputs], NDArray[np.float32]]
"""Network outputs of n pictures → out-of-distribution scores [n]."""

NEIGHBOUR_RANK = 50
"""The score is the distance to this nearest training picture (Sun et al., ICML 2022)."""

COVARIANCE_RIDGE = 1e-4
"""Added to the covariance's diagonal, because some features hardly vary."""

Figures = dict[str, float]


def ood_scores(training: Outputs, detector: Detector) -> dict[str, Score]:
    """The compared scores, by name; `training` holds the outputs of unchanged training pictures."""
    return {
        "maximum logit": lambda outputs: -outputs.logits.max(1),
        "energy": lambda outputs: energy(outputs.logits),
        "Mahalanobis distance": _mahalanobis_score(training),
        f"distance to the {NEIGHBOUR_RANK}th neighbour": _neighbour_score(training),
        "detector": lambda outputs: detector.score(*outputs),
    }


def compare(
    scores: dict[str, Score], validation: Outputs, outlier_sets: dict[str, Outputs]
) -> dict[str, dict[str, Figures]]:
    """AUROC, FPR at 95 % TPR, and fraction flagged, for each score and set, against the validation pictures."""
    return {
        name: {kind: _separation(score(validation), score(outputs)) for kind, outputs in outlier_sets.items()}
        for name, score in scores.items()
    }


def leave_one_family_out(inliers: Outputs, families: dict[str, Outputs], validation: Outputs) -> dict[str, Figures]:
    """The same figures for each family of outliers, from a detector trained on the other families."""
    figures = {}
    for family, outputs in families.items():
        detector = fit_detector(inliers, [other for name, other in families.items() if name != family])
        figures[family] = _separation(detector.score(*validation), detector.score(*outputs))
    return figures


def auroc(inliers: NDArray[np.floating], outliers: NDArray[np.floating]) -> float:
    """Area under the ROC curve: how often an outlier scores higher than an inlier, where ties count half."""
    _, inverse, counts = np.unique(np.concatenate([inliers, outliers]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[len(inliers) :].sum() - len(outliers) * (len(outliers) + 1) / 2
    return float(above / (len(inliers) * len(outliers)))


def _separation(inliers: NDArray[np.floating], outliers: NDArray[np.floating]) -> Figures:
    return {
        "auroc": auroc(inliers, outliers),
        "fpr95": float((inliers >= np.quantile(outliers, 0.05)).mean()),
        "flagged": float((outliers > threshold(inliers)).mean()),
    }


def _mahalanobis_score(training: Outputs) -> Score:
    """Squared distance to the nearest mean of a predicted class, with one covariance (Lee et al., NeurIPS 2018)."""
    classes = training.logits.argmax(1)
    features = training.features.astype(np.float64)
    means = np.stack([features[classes == k].mean(0) for k in np.unique(classes)])
    centred = features - means[np.searchsorted(np.unique(classes), classes)]
    covariance = centred.T @ centred / len(features)
    precision = np.linalg.inv(covariance + COVARIANCE_RIDGE * np.eye(features.shape[1]))

    def score(outputs: Outputs) -> NDArray[np.float32]:
        x = outputs.features.astype(np.float64)
        projected = x @ precision
        squares = (projected * x).sum(1)[:, None] - 2 * projected @ means.T + ((means @ precision) * means).sum(1)
        nearest: NDArray[np.float32] = squares.min(1).astype(np.float32)
        return nearest

    return score


def _neighbour_score(training: Outputs) -> Score:
    """Cosine distance to the training picture of NEIGHBOUR_RANK."""
    bank = training.features / np.linalg.norm(training.features, axis=1, keepdims=True)

    def score(outputs: Outputs) -> NDArray[np.float32]:
        x = outputs.features / np.linalg.norm(outputs.features, axis=1, keepdims=True).clip(1e-9)
        chunks = (x[i : i + 500] for i in range(0, len(x), 500))
        parts = [1 - np.partition(chunk @ bank.T, -NEIGHBOUR_RANK, axis=1)[:, -NEIGHBOUR_RANK] for chunk in chunks]
        distances: NDArray[np.float32] = np.concatenate(parts)
        return distances

    return score
