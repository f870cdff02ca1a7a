"""The network that every peer serves: this project's checkpoint, in plain torch or in the service's engine.

PEER_ENGINE=torch runs eager torch in single precision, as the peers' documentation does. PEER_ENGINE=ours runs the
engine that the service would choose, so that only the servers differ.
"""

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from app.inference.engines import choose
from app.settings import Settings
from model.checkpoint import Checkpoint
from model.labels import probabilities
from model.predict import load_graph
from model.preprocess import native


def read(data: bytes) -> NDArray[np.uint8]:
    """Decodes and preprocesses a picture file, as in training. Returns uint8 [96,96]."""
    return native(Image.open(io.BytesIO(data)))


class Network:
    """Callable: uint8 [n,96,96] to n answers, as JSON values."""

    def __init__(self) -> None:
        settings = Settings()
        checkpoint = Checkpoint.load(settings.checkpoint)
        self.classes = checkpoint.metadata.classes
        self.smoothing = checkpoint.metadata.smoothing
        self.run, self.temperature = _torch(checkpoint) if _torch_wanted() else _engine(settings, checkpoint)

    def __call__(self, pixels: NDArray[np.uint8]) -> list[dict[str, Any]]:
        rows = probabilities(self.run(pixels), self.temperature, self.smoothing)
        return [
            {"label": self.classes[row.argmax()], "probabilities": dict(zip(self.classes, row.tolist(), strict=True))}
            for row in rows
        ]


Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def _torch_wanted() -> bool:
    return {"torch": True, "ours": False}[os.environ.get("PEER_ENGINE", "torch")]


def _torch(checkpoint: Checkpoint) -> tuple[Run, float]:
    graph = load_graph(checkpoint)

    @torch.inference_mode()
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return graph(torch.from_numpy(pixels))[0].numpy()

    return run, checkpoint.metadata.temperature


def _engine(settings: Settings, checkpoint: Checkpoint) -> tuple[Run, float]:
    chosen = choose.build_engine(settings, checkpoint)
    return lambda pixels: chosen(pixels).logits, chosen.temperature
