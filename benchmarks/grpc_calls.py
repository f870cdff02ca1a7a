"""Compares gRPC with HTTP and with the engine alone, in interleaved rounds.

    python -m benchmarks.grpc_calls [--rounds 5] [--seconds 3]

Single pictures: 64 clients with a 28×28 PNG, over HTTP as a form (wrk) and over gRPC as `image` (h2load, from Debian's
nghttp2-client). Tensors: two clients, each with 256 pictures as `pixels` (tritonclient), and the engine alone on the
same pictures in the same batch size.
"""

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, service_pb2

from app.inference.engines.base import lanes
from app.inference.engines.choose import build_engine
from app.settings import Settings
from benchmarks.harness.bodies import PICTURES, pictures
from benchmarks.harness.load import closed_loop, require_success
from benchmarks.harness.machine import describe
from benchmarks.harness.processes import Server, ServerError, free_port, run_server
from model.checkpoint import SHIPPED, Checkpoint

MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
CLIENTS = 64
TENSOR_CLIENTS, TENSOR_PICTURES, TENSOR_REQUESTS = 2, 256, 20
WARM_UP = ("/predict", "multipart", 8, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of 64 clients' loads")
    options = parser.parse_args()
    port = free_port()
    environment = {"GOOGLENET_PORT": "{port}", "GOOGLENET_GRPC_PORT": str(port)}
    command = (sys.executable, "-m", "app")
    first = next(pictures("multipart"))
    with (
        TemporaryDirectory() as folder,
        run_server(command, environment, "/predict", first, Path(folder) / "log") as server,
        InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        closed_loop(server, *WARM_UP)
        measures = {
            "64 clients, HTTP: requests/s": lambda: _http_rate(server, options.seconds),
            "64 clients, gRPC: requests/s": lambda: _grpc_rate(server, port, Path(folder), options.seconds),
            **_tensor_measures(server, client),
        }
        rates: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(options.rounds):
            for name, measure in measures.items():
                rates[name].append(measure())
    print(describe()["processor"])
    for name, values in rates.items():
        print(f"{name:45} {statistics.median(values):6.0f} ({min(values):.0f}–{max(values):.0f}, n = {options.rounds})")
    http, grpc, alone, served = (statistics.median(values) for values in rates.values())
    print(f"gRPC ÷ HTTP = {grpc / http:.1%}; gRPC tensors ÷ engine alone = {served / alone:.1%}")


def _http_rate(server: Server, seconds: int) -> float:
    return require_success(closed_loop(server, "/predict", "multipart", CLIENTS, seconds)).rate


def _grpc_rate(server: Server, port: int, folder: Path, seconds: int) -> float:
    """Calls a second, as the service's metrics count them: h2load does not look at gRPC's status."""
    message = service_pb2.ModelInferRequest(model_name=Checkpoint.load(SHIPPED).metadata.name)
    picture = next(iter(sorted(PICTURES.glob("*.png")))).read_bytes()
    message.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(picture)
    data = message.SerializeToString()
    body = folder / "call"
    body.write_bytes(b"\0" + len(data).to_bytes(4) + data)  # gRPC's frame: not compressed, length, message
    command = ["h2load", "-t", "1", "-c", str(CLIENTS), "-m", "1", "-D", str(seconds), "-d", str(body)]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    before, started = _answered(server), time.perf_counter()
    subprocess.run([*command, *headers, f"http://127.0.0.1:{port}{MODEL_INFER}"], check=True, capture_output=True)
    rate = (_answered(server) - before) / (time.perf_counter() - started)
    if not rate:
        raise ServerError("no gRPC call was answered")
    return rate


def _answered(server: Server) -> float:
    """gRPC calls that the service has answered without an error so far."""
    metrics = httpx.get(f"http://127.0.0.1:{server.port}/metrics").text
    name = "googlenet_http_requests_total"
    found = re.search(rf'^{name}{{route="{MODEL_INFER}",status="200"}} (\S+)$', metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _tensor_measures(server: Server, client: InferenceServerClient) -> dict[str, Callable[[], float]]:
    """The engine's pictures a second without the service, and those of the service over gRPC."""
    checkpoint = Checkpoint.load(SHIPPED)
    pixels = np.resize(checkpoint.golden.pixels, (TENSOR_PICTURES, 96, 96))
    size = httpx.get(f"http://127.0.0.1:{server.port}/health").json()["engine"]["max_batch_size"]
    engine = build_engine(Settings(), checkpoint)
    lanes_in_parallel, clients = ThreadPoolExecutor(lanes(engine)), ThreadPoolExecutor(TENSOR_CLIENTS)
    batches = TENSOR_REQUESTS * [pixels[at : at + size] for at in range(0, len(pixels), size)]
    tensor = InferInput("pixels", list(pixels.shape), "UINT8").set_data_from_numpy(pixels)
    requests = TENSOR_REQUESTS * [[tensor]]
    name = checkpoint.metadata.name
    return {
        "256 pictures, engine alone: pictures/s": lambda: _rate(lambda: list(lanes_in_parallel.map(engine, batches))),
        "256 pictures, gRPC: pictures/s": lambda: _rate(
            lambda: list(clients.map(lambda tensors: client.infer(name, tensors), requests))
        ),
    }


def _rate(compute: Callable[[], object]) -> float:
    """Pictures a second, in the second of two runs."""
    compute()
    started = time.perf_counter()
    compute()
    return TENSOR_REQUESTS * TENSOR_PICTURES / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
