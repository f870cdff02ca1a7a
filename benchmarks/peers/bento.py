"""Peer: BentoML with its adaptive batching.

https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html
run: bentoml serve benchmarks.peers.bento:Classifier
"""

from typing import Any

import bentoml
import numpy as np
from PIL import Image

from benchmarks.peers.network import Network
from model.preprocess import native


@bentoml.service(traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        self.network = Network()

    @bentoml.api(batchable=True)
    def predict(self, file: list[Image.Image]) -> list[dict[str, Any]]:
        return self.network(np.stack([native(picture) for picture in file]))
