"""Draws garments of every class as icons show them: training pictures that the data set does not have.

Each drawing has random proportions, details and style. The network is trained on what preprocessing makes of it.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from model.preprocess.photo import DATASET_SIZE, process_photo
from model.preprocess.scene import segment
from model.synthetic.sketches.bags import bag
from model.synthetic.sketches.clothes import coat, dress, pullover, shirt, t_shirt, trouser
from model.synthetic.sketches.figure import Figure
from model.synthetic.sketches.render import render
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


def draw_sketches(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`count` drawings, the classes in turn → preprocessed uint8 [count,28,28], and class numbers [count]."""
    rng = np.random.default_rng([seed, *b"sketches"])
    labels = np.arange(count) % len(CLASSES)
    scenes = (segment(draw_sketch(CLASSES[label], rng), None) for label in labels)
    pixels = [np.asarray(process_photo(scene).pixels) for scene in scenes]
    return np.stack(pixels) if pixels else np.zeros((0, DATASET_SIZE, DATASET_SIZE), np.uint8), labels


def draw_sketch(garment: str, rng: Generator) -> Image.Image:
    """A drawing of a garment of that class, mode L."""
    figure = FIGURES[garment](rng)
    shoe = garment in ("Sneaker", "Sandal", "Ankle boot")
    angle = rng.uniform(-0.8, 0.8) if shoe and rng.random() < 0.35 else rng.normal(0, 0.05)
    return render(figure, rng, angle)
