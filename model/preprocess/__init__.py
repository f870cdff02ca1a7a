"""Any picture → uint8 [96,96], the network's input, in the same way for training, evaluation and serving."""

from model.preprocess.pipeline import (
    VERSION,
    BackgroundOption,
    Mode,
    Pixels,
    Preprocessed,
    Rotation,
    native,
    preprocess,
)
from model.preprocess.scene import SIZE

__all__ = ["SIZE", "VERSION", "BackgroundOption", "Mode", "Pixels", "Preprocessed", "Rotation", "native", "preprocess"]
