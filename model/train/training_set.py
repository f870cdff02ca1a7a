"""The pictures that a recipe trains on: the data set's, then synthetic drawings of garments."""

import torch

from model.data import DataError, Dataset, Split
from model.synthetic.sketches.draw import CLASSES, draw_sketches
from model.train.recipes import Recipe


def training_set(dataset: Dataset, recipe: Recipe, seed: int) -> Split:
    """Raises DataError for sketches with other classes than Fashion-MNIST's."""
    if not recipe.sketches:
        return dataset.train
    if dataset.classes != CLASSES:
        raise DataError(f"sketches={recipe.sketches}: sketches exist only for the classes {', '.join(CLASSES)}")
    pixels, labels = (torch.from_numpy(array) for array in draw_sketches(recipe.sketches, seed))
    return Split(torch.cat([dataset.train.pixels, pixels]), torch.cat([dataset.train.labels, labels]))
