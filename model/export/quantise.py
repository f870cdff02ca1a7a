"""Post-training quantisation to int8 with NNCF, an optional dependency.

Weights and activations become int8. Ranges and bias corrections come from calibration pictures (Nagel et al., "A White
Paper on Neural Network Quantization", 2021). The head stays in floating point.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data import Split
from model.export.openvino import ov  # before nncf: it switches off the telemetry of both
from model.preprocess import SIZE

import nncf  # isort: skip

CALIBRATION_PICTURES = 1000

SEED = 0


def calibration_pictures(train: Split) -> Tensor:
    """A random choice of training pictures for `quantise`, uint8 [n,h,w]."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED))
    return train.pixels[order[:CALIBRATION_PICTURES]]


def quantise(model: ov.Model, pixels: NDArray[np.uint8]) -> ov.Model:
    """Quantises a RawPixelGraph, except its head, with the ranges found on calibration pictures uint8 [n,96,96]."""
    convolutions = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    nncf.set_log_level("ERROR")
    quantised: ov.Model = nncf.quantize(
        model,
        nncf.Dataset([pixels[i : i + 1] for i in range(len(pixels))]),
        subset_size=len(pixels),
        # int8 pooling of the class maps costs accuracy, and OpenVINO 2026.4 computes it wrongly for a free batch size
        ignored_scope=nncf.IgnoredScope(names=convolutions[-1:], types=["ReduceMean"]),
    )
    quantised.reshape([-1, SIZE, SIZE])
    return quantised
