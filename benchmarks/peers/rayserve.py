"""Peer: Ray Serve with its dynamic request batching, at most 32 pictures and 5 ms of waiting.

https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html – run: python -m benchmarks.peers.rayserve PORT
"""

import signal
import sys
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.network import Network, read

OBJECT_STORE_BYTES = 100 << 20
"""By default Ray reserves a third of the memory."""


@serve.deployment(max_ongoing_requests=1000)
class Classifier:
    def __init__(self) -> None:
        self.network = Network()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def predict(self, pictures: list[NDArray[np.uint8]]) -> list[dict[str, Any]]:
        return self.network(np.stack(pictures))

    async def __call__(self, request: Request) -> dict[str, Any]:
        if request.headers["content-type"].startswith("multipart/"):
            async with request.form() as form:
                data = await form["file"].read()
        else:
            data = await request.body()
        return await self.predict(read(data))


if __name__ == "__main__":
    ray.init(include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Classifier.bind(), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
