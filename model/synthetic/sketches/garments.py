"""Garments drawn by rule, as icons and clip art show them: training pictures that the data set does not have.

Every figure has proportions, details and a style of its own: flat, outlined, in two or three tones, light on dark or
dark on light. What becomes of it in the service's preprocessing is what the network learns from.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from model.preprocess.photo import SIDE, look, photo
from model.synthetic.sketches.bags import bag
from model.synthetic.sketches.clothes import coat, dress, pullover, shirt, t_shirt, trouser
from model.synthetic.sketches.figure import Figure
from model.synthetic.sketches.paper import drawn
from model.synthetic.sketches.shoes import ankle_boot, sandal, sneaker

FIGURES: dict[str, Callable[[Generator], Figure]] = {
    "T-shirt/top": t_shirt,
    "Trouser": trouser,
    "Pullover": pullover,
    "Dress": dress,
    "Coat": coat,
    "Sandal": sandal,
    "Shirt": shirt,
    "Sneaker": sneaker,
    "Bag": bag,
    "Ankle boot": ankle_boot,
}

CLASSES = tuple(FIGURES)


def sketches(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`count` drawings, the classes in turn → uint8 [count,28,28] as preprocessed, and labels [count]."""
    rng = np.random.default_rng([seed, *b"sketches"])
    labels = np.arange(count) % len(CLASSES)
    pixels = [np.asarray(photo(look(sketch(CLASSES[label], rng), None), "auto").pixels) for label in labels]
    return np.stack(pixels) if pixels else np.zeros((0, SIDE, SIDE), np.uint8), labels


def sketch(garment: str, rng: Generator) -> Image.Image:
    """One drawing of a garment of that class, mode L."""
    figure = FIGURES[garment](rng)
    shoe = garment in ("Sneaker", "Sandal", "Ankle boot")
    return drawn(figure, rng, turn=rng.uniform(-0.8, 0.8) if shoe and rng.random() < 0.35 else rng.normal(0, 0.05))
