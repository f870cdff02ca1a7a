"""A server that speaks gRPC, and what its tests send to it."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from conftest import Server, run_server
from support.waiting import wait_until
from tritonclient.grpc import service_pb2
from tritonclient.utils import serialize_byte_tensor

NAME = "googlenet-fashion-mnist"
SERVICE = "/inference.GRPCInferenceService/"
INFER = f"{SERVICE}ModelInfer"


@contextmanager
def run_grpc_server(**settings: str) -> Iterator[tuple[Server, str]]:
    """The server and the address of its gRPC port."""
    with run_server(**{"GOOGLENET_GRPC_PORT": "0", **settings}) as server:
        wait_until(lambda: any("gRPC on" in line for line in server.log))  # a worker's line may come late
        yield server, address(server)


def address(server: Server) -> str:
    return next(found[1] for line in server.log if (found := re.search(r"gRPC on (\S+)", line)))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def images(*files: bytes) -> Any:
    return triton.InferInput("image", [len(files)], "BYTES").set_data_from_numpy(np.array(files, dtype=object))


def pixels(array: np.ndarray) -> Any:
    return triton.InferInput("pixels", list(array.shape), "UINT8").set_data_from_numpy(array)


def raw_request(*files: bytes, array: np.ndarray | None = None, **fields: Any) -> Any:
    """A ModelInferRequest of files, or of an array [n,96,96], in raw_input_contents."""
    message = service_pb2.ModelInferRequest(model_name=NAME, **fields)
    if array is None:
        message.inputs.add(name="image", datatype="BYTES", shape=[len(files)])
        message.raw_input_contents.append(serialize_byte_tensor(np.array(files, dtype=object)).item())
    else:
        message.inputs.add(name="pixels", datatype="UINT8", shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    return message


def typed_request(*files: bytes, array: np.ndarray | None = None) -> Any:
    """The same in the typed contents of the input."""
    message = service_pb2.ModelInferRequest(model_name=NAME)
    if array is None:
        tensor = message.inputs.add(name="image", datatype="BYTES", shape=[len(files)])
        tensor.contents.bytes_contents.extend(files)
    else:
        tensor = message.inputs.add(name="pixels", datatype="UINT8", shape=array.shape)
        tensor.contents.uint_contents.extend(array.ravel().tolist())
    return message


def infer(channel: Any, message: Any, **options: Any) -> Any:
    """ModelInferResponse to a message, or to bytes that may be none."""
    data = message if isinstance(message, bytes) else message.SerializeToString()
    call = channel.unary_unary(INFER, response_deserializer=service_pb2.ModelInferResponse.FromString)
    return call(data, timeout=60, **options)


def outputs(response: Any) -> dict[str, np.ndarray]:
    """Each numeric output of a ModelInferResponse."""
    parts = zip(response.outputs, response.raw_output_contents, strict=True)
    return {o.name: np.frombuffer(data, "<f4").reshape(o.shape) for o, data in parts if o.datatype == "FP32"}


def channel(target: str, **options: Any) -> Any:
    """A channel of its own connection, with gRPC's options: `keepalive_time_ms` is grpc.keepalive_time_ms."""
    named = [(f"grpc.{name}", value) for name, value in options.items()]
    return grpc.insecure_channel(target, [*named, ("grpc.use_local_subchannel_pool", 1)])
