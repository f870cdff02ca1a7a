"""Converts nested lists of JSON numbers, as Keras tutorials send them, into pictures."""

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidRequest
from model.preprocess import SIZE

SIDES = (28, SIZE)
"""Rows and columns of a picture: those of the data set, or those of the network's input."""


def to_pixels(rows: list[Any]) -> NDArray[np.uint8]:
    """Nested lists [side,side] or [side,side,1] of numbers → uint8 [side,side], rounded. Raises InvalidRequest.

    Numbers above 1 mean a scale of 0 to 255, fractions with none above 1 a scale of 0 to 1. A picture of zeros and ones
    only is refused: 1 would be white on one scale and almost black on the other.
    """
    side = len(rows)
    is_square = side in SIDES and all(isinstance(row, list) and len(row) == side for row in rows)
    numbers = list(chain.from_iterable(rows)) if is_square else []
    if all(isinstance(number, list) and len(number) == 1 for number in numbers):
        numbers = [number for (number,) in numbers]
    if not numbers or not set(map(type, numbers)) <= {int, float}:  # isinstance would accept true and false
        raise InvalidRequest(f"the list is not {' or '.join(f'{side}×{side}' for side in SIDES)} numbers")
    if min(numbers) < 0 or max(numbers) > 255:
        raise InvalidRequest("the list has numbers that are not from 0 to 255, nor from 0 to 1")
    values = np.array(numbers, np.float64).reshape(side, side)
    return np.floor(values * _factor(values) + 0.5).astype(np.uint8)


def _factor(values: NDArray[np.float64]) -> float:
    """What the values, 0 to 255, are multiplied by. Raises InvalidRequest if their scale is ambiguous."""
    if values.max() > 1:
        return 1.0
    if (values % 1).any():
        return 255.0
    if values.any():
        raise InvalidRequest(
            "the list has only zeros and ones, which may be a scale of 0 to 1 or of 0 to 255; send 0 and 255 instead"
        )
    return 1.0
