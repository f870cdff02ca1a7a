"""Peer: LitServe with its batching, at most 32 pictures and 10 ms of waiting.

https://lightning.ai/docs/litserve/features/batching – run: python -m benchmarks.peers.lit PORT
"""

import sys
from typing import Any

import litserve as ls
import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from benchmarks.peers.network import Network, read


class Classifier(ls.LitAPI):
    def setup(self, device: str) -> None:
        self.network = Network()

    def decode_request(self, request: Request) -> NDArray[np.uint8]:
        return read(request["file"].file.read())

    def predict(self, pictures: NDArray[np.uint8]) -> list[dict[str, Any]]:
        return self.network(pictures)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    server = ls.LitServer(Classifier(max_batch_size=32, batch_timeout=0.01), accelerator="auto", timeout=False)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
