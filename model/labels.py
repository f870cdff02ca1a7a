"""Logits → probabilities, once for all engines and for the answers they are proved by."""

import numpy as np
from numpy.typing import NDArray

SOFTNESS = 1e-4
"""How gently a probability that label smoothing alone accounts for is brought towards zero."""


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.floating]:
    """Logits, divided by the temperature, → probabilities [n,classes], of the same type."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    exponentials: NDArray[np.floating] = np.exp(scaled)
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials


def sharpen(logits: NDArray[np.floating], smoothing: float) -> NDArray[np.floating]:
    """Takes label smoothing out of the logits [n,classes] of a network trained with it; their order stays.

    Smoothed labels teach the network p = (1 - s) q + s / classes where q is what is so; solved for q, and
    kept above zero by a smooth maximum. No temperature can do this: it would move 0.6 as it moves 0.95.
    """
    if not smoothing:
        return logits
    excess = (softmax(logits.astype(np.float64)) - smoothing / logits.shape[1]) / (1 - smoothing)
    larger = (np.abs(excess) + np.sqrt(excess * excess + 4 * SOFTNESS**2)) / 2
    positive = np.where(excess > 0, larger, SOFTNESS**2 / larger)  # (e + √(e² + 4 s²)) / 2 without cancelling digits
    sharpened: NDArray[np.floating] = np.log(positive)
    return sharpened


def probabilities(logits: NDArray[np.float32], temperature: float, smoothing: float) -> NDArray[np.float32]:
    """What a network's logits [n,classes] say, calibrated, float32 [n,classes]."""
    return softmax(sharpen(logits, smoothing), temperature).astype(np.float32, copy=False)
