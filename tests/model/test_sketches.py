"""Garments drawn by rule: pictures to train on, and what the shipped network makes of them."""

import numpy as np
import torch

from model.checkpoint import Checkpoint
from model.predict import load_predictor, serving_pixels
from model.synthetic.sketches.draw import CLASSES, draw_sketches


def test_they_are_of_every_class_differ_and_repeat(checkpoint: Checkpoint) -> None:
    assert checkpoint.metadata.classes == CLASSES
    pixels, labels = draw_sketches(60, seed=1)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (60, 28, 28))
    assert np.bincount(labels).tolist() == [6] * 10
    assert len({picture.tobytes() for picture in pixels}) == 60
    assert np.array_equal(draw_sketches(60, seed=1)[0], pixels)
    assert not np.array_equal(draw_sketches(60, seed=2)[0], pixels)


def test_the_shipped_network_knows_garments_in_drawings_it_has_not_seen(checkpoint: Checkpoint) -> None:
    pixels, labels = draw_sketches(300, seed=1_000_003)
    logits, _ = load_predictor(checkpoint)(serving_pixels(torch.from_numpy(pixels)).numpy())
    assert (logits.argmax(1) == labels).mean() > 0.8
