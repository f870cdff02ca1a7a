"""Post-training quantisation to int8 by NNCF, which is needed for nothing else.

Weights and activations become int8, ranges and bias corrections come from calibration pictures
(Nagel et al., "A White Paper on Neural Network Quantization", 2021). The head stays in floating point.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data import Split
from model.export.openvino import ov  # before nncf, whose telemetry this switches off too
from model.preprocess import SIZE

import nncf  # isort: skip

CALIBRATION = 1000
"""Training pictures that the ranges are taken from."""

SEED = 0
"""Of their choice."""


def calibration(train: Split) -> Tensor:
    """The training pictures that quantise needs, uint8 [n,h,w]."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED))
    return train.pixels[order[:CALIBRATION]]


def quantise(model: ov.Model, pixels: NDArray[np.uint8]) -> ov.Model:
    """The graph, of RawPixelGraph, with all convolutions but the head in int8; calibrated on uint8 [n,96,96]."""
    convolutions = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    nncf.set_log_level("ERROR")
    quantised: ov.Model = nncf.quantize(
        model,
        nncf.Dataset([pixels[i : i + 1] for i in range(len(pixels))]),
        subset_size=len(pixels),
        # pooling the class maps in int8 costs accuracy, and OpenVINO 2026.4 computes it wrongly for a free batch size
        ignored_scope=nncf.IgnoredScope(names=convolutions[-1:], types=["ReduceMean"]),
    )
    quantised.reshape([-1, SIZE, SIZE])
    return quantised
