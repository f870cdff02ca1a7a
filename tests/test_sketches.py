"""Garments drawn by rule: pictures to train on."""

import numpy as np

from model.checkpoint import Checkpoint
from model.sketches.garments import CLASSES, sketches


def test_they_are_of_every_class_differ_and_repeat(checkpoint: Checkpoint) -> None:
    assert checkpoint.metadata.classes == CLASSES
    pixels, labels = sketches(60, seed=1)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (60, 28, 28))
    assert np.bincount(labels).tolist() == [6] * 10
    assert len({picture.tobytes() for picture in pixels}) == 60
    assert np.array_equal(sketches(60, seed=1)[0], pixels)
    assert not np.array_equal(sketches(60, seed=2)[0], pixels)
