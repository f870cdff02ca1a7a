"""Any picture → uint8 [96,96], the one definition for training, evaluation and serving."""

from model.preprocess.pipeline import (
    SIZE,
    VERSION,
    Ground,
    Mode,
    Preprocessed,
    Rotation,
    native,
    on_white,
    preprocess,
)

__all__ = ["SIZE", "VERSION", "Ground", "Mode", "Preprocessed", "Rotation", "native", "on_white", "preprocess"]
