"""Logits → calibrated probabilities, the same for all engines and for the stored answers to known pictures."""

import numpy as np
from numpy.typing import NDArray

SMOOTHNESS = 1e-4
"""Width of the smooth maximum that keeps probabilities above zero once label smoothing has been removed."""


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.floating]:
    """Softmax of logits [n,classes] divided by the temperature → [n,classes], of the same type."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    exponentials: NDArray[np.floating] = np.exp(scaled)
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials


def remove_label_smoothing(logits: NDArray[np.floating], smoothing: float) -> NDArray[np.floating]:
    """Removes the effect of label smoothing from the logits [n,classes] of a network trained with it.

    The network has learned p = (1 - s) q + s / classes, where q are the true probabilities. This is solved for q, and
    a smooth maximum keeps q above zero. The order of the logits stays. A temperature cannot replace this, because it
    would change probabilities of 0.6 as much as those of 0.95.
    """
    if not smoothing:
        return logits
    excess = (softmax(logits.astype(np.float64)) - smoothing / logits.shape[1]) / (1 - smoothing)
    larger = (np.abs(excess) + np.sqrt(excess * excess + 4 * SMOOTHNESS**2)) / 2
    positive = np.where(excess > 0, larger, SMOOTHNESS**2 / larger)  # (e + √(e² + 4 s²)) / 2 without cancelling digits
    sharpened: NDArray[np.floating] = np.log(positive)
    return sharpened


def probabilities(logits: NDArray[np.float32], temperature: float, smoothing: float) -> NDArray[np.float32]:
    """Calibrated probabilities of logits [n,classes] → float32 [n,classes]."""
    return softmax(remove_label_smoothing(logits, smoothing), temperature).astype(np.float32, copy=False)
