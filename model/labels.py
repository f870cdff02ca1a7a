"""Logits → probabilities, once for all engines and for the answers they are proved by."""

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Logits, divided by the temperature, → probabilities, float32 [n,classes]."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    exponentials: NDArray[np.float32] = np.exp(scaled)
    exponentials /= exponentials.sum(axis=1, keepdims=True)
    return exponentials
