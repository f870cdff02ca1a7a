"""What every peer serves: this project's checkpoint, in plain torch or in the service's own engine.

PEER_ENGINE=torch is how the peers' documentation runs a network: eager, single precision, from the
weights. PEER_ENGINE=ours puts the very engine into the peer that the service would choose, so that
what remains is the difference between the servers.
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
    """A picture file → uint8 [96,96], by the definition the network was trained on."""
    return native(Image.open(io.BytesIO(data)))


class Network:
    """uint8 [n,96,96] → n answers as JSON values."""

    def __init__(self) -> None:
        settings = Settings()
        checkpoint = Checkpoint.load(settings.checkpoint)
        self.classes = checkpoint.metadata.classes
        self.smoothing = checkpoint.metadata.smoothing
        self.run, self.temperature = _plain(checkpoint) if _plain_wanted() else _ours(settings, checkpoint)

    def __call__(self, pixels: NDArray[np.uint8]) -> list[dict[str, Any]]:
        rows = probabilities(self.run(pixels), self.temperature, self.smoothing)
        return [
            {"label": self.classes[row.argmax()], "probabilities": dict(zip(self.classes, row.tolist(), strict=True))}
            for row in rows
        ]


Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def _plain_wanted() -> bool:
    return {"torch": True, "ours": False}[os.environ.get("PEER_ENGINE", "torch")]


def _plain(checkpoint: Checkpoint) -> tuple[Run, float]:
    graph = load_graph(checkpoint)

    @torch.inference_mode()
    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return graph(torch.from_numpy(pixels))[0].numpy()

    return run, checkpoint.metadata.temperature


def _ours(settings: Settings, checkpoint: Checkpoint) -> tuple[Run, float]:
    chosen = choose.build(settings, checkpoint)
    return lambda pixels: chosen(pixels).logits, chosen.temperature
