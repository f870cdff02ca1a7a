"""Compares a binary /v2 request of 256 pictures with the engine alone, on the same pictures in the same batch size.

python -m benchmarks.inference_v2 [--pictures 256] [--rounds 15]

The two take turns; the service runs in its own process. Prints median rates, and the service's share of the engine's.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
from numpy.typing import NDArray

from app.inference.engines.base import lanes
from app.inference.engines.choose import build_engine
from app.settings import Settings
from benchmarks.harness.bodies import tensor
from benchmarks.harness.machine import describe
from model.checkpoint import SHIPPED, Checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    checkpoint = Checkpoint.load(SHIPPED)
    pixels = np.resize(checkpoint.golden.pixels, (options.pictures, 96, 96))
    environment = os.environ | {"GOOGLENET_PORT": "0"}
    server = subprocess.Popen([sys.executable, "-m", "app"], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        url = next(found[1] for line in server.stderr or () if (found := re.search(r"running on (http://\S+)", line)))
        with httpx.Client(base_url=url, timeout=60) as client:
            measure(client, checkpoint, pixels, options.rounds)
    finally:
        server.terminate()
        server.communicate()


def measure(client: httpx.Client, checkpoint: Checkpoint, pixels: NDArray[np.uint8], rounds: int) -> None:
    size = client.get("/health").json()["engine"]["max_batch_size"]
    engine = build_engine(Settings(), checkpoint)
    threads = ThreadPoolExecutor(lanes(engine))
    body = tensor(pixels)
    headers = {"Inference-Header-Content-Length": str(body.json_length)}
    path = f"/v2/models/{checkpoint.metadata.name}/infer"
    times: dict[str, list[float]] = {"engine": [], "/v2": []}
    for _ in range(rounds + 2):
        started = time.perf_counter()
        list(threads.map(engine, [pixels[at : at + size] for at in range(0, len(pixels), size)]))
        engine_done = time.perf_counter()
        client.post(path, content=body.data, headers=headers).raise_for_status()
        times["engine"].append(engine_done - started)
        times["/v2"].append(time.perf_counter() - engine_done)
    print(json.dumps(describe(), default=str))
    rates = {}
    for name, taken in times.items():
        taken = sorted(taken[2:])
        rates[name] = len(pixels) / statistics.median(taken)
        print(f"{name:7} {rates[name]:8.0f} pictures/s (median of {rounds}; {taken[0]:.4f} to {taken[-1]:.4f} s)")
    print(f"{len(pixels)} pictures, batches of {size}: {rates['/v2'] / rates['engine']:.1%} of the engine's own rate")


if __name__ == "__main__":
    main()
