"""The Open Inference Protocol over gRPC with Triton's own client: the same answers as over HTTP."""

import asyncio
import queue
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.http as triton_http
from conftest import Server, run_server
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from support.documents import at, examples, run_python
from support.grpc_calls import (
    INFER,
    NAME,
    address,
    channel,
    images,
    infer,
    outputs,
    pixels,
    raw_request,
    run_grpc_server,
    typed_request,
)
from support.waiting import wait_until
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from model.checkpoint import Checkpoint

NUMBERS = ("probabilities", "logits")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with run_grpc_server() as (running, _):
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(address(server)) as client:
        yield client


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def calls(server: Server) -> Iterator[Any]:
    with channel(address(server)) as opened:
        yield opened


def over_http(server: Server, files: list[bytes], array: np.ndarray) -> tuple[Any, Any]:
    """The answers to files and to pixels."""
    image = triton_http.InferInput("image", [len(files)], "BYTES").set_data_from_numpy(np.array(files, dtype=object))
    tensor = triton_http.InferInput("pixels", list(array.shape), "UINT8").set_data_from_numpy(array)
    with triton_http.InferenceServerClient(server.url.removeprefix("http://"), network_timeout=60) as client:
        return client.infer(NAME, [image]), client.infer(NAME, [tensor])


# --- answers -----------------------------------------------------------------------------------------------------


def test_answers_are_those_of_http(
    server: Server, client: Any, calls: Any, pictures: list[tuple[str, bytes]], checkpoint: Checkpoint
) -> None:
    files, array = [file for _, file in pictures[::9]], checkpoint.golden.pixels
    expected = over_http(server, files, array)
    for sent, answer in zip((images(*files), pixels(array)), expected, strict=True):
        found = client.infer(NAME, [sent], request_id="a 1")
        assert found.get_response().id == "a 1"
        assert found.as_numpy("label").tolist() == answer.as_numpy("label").tolist()
        for name in NUMBERS:
            assert np.abs(found.as_numpy(name) - answer.as_numpy(name)).max() <= 1e-6
    for message, answer in zip((typed_request(*files), typed_request(array=array)), expected, strict=True):
        for name, values in outputs(infer(calls, message)).items():
            assert np.abs(values - answer.as_numpy(name)).max() <= 1e-6


def test_outputs_as_they_are_asked_for(client: Any, boot: bytes) -> None:
    asked = [triton.InferRequestedOutput("probabilities", class_count=2)]
    result = client.infer(NAME, [images(boot)], model_version="1", outputs=asked)
    assert [output.name for output in result.get_response().outputs] == ["probabilities"]
    assert re.fullmatch(rb"0\.9\d+:9:Ankle boot", result.as_numpy("probabilities")[0, 0])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client: Any, boot: bytes, checkpoint: Checkpoint, algorithm: str) -> None:
    assert client.infer(NAME, [images(boot)], compression_algorithm=algorithm).as_numpy("label") == [b"Ankle boot"]
    many = np.repeat(checkpoint.golden.pixels, 2, axis=0)
    found = client.infer(NAME, [pixels(many)], compression_algorithm=algorithm)
    assert found.as_numpy("logits").shape[0] == len(many)


def test_many_in_progress(client: Any, boot: bytes) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    for _ in range(24):
        client.async_infer(NAME, [images(boot)], lambda result, error: answers.put((result, error)))
    for _ in range(24):
        result, error = answers.get(timeout=60)
        assert error is None
        assert result.as_numpy("label") == [b"Ankle boot"]


def test_a_stream_answers_in_order_and_survives_an_error(server: Server, boot: bytes) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton.InferenceServerClient(address(server)) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for i in range(40):
            files = [boot] * (1 + i % 5) if i != 7 else [b"no picture"]
            client.async_stream_infer(NAME, [images(*files)], request_id=str(i))
        for i in range(40):
            result, error = answers.get(timeout=60)
            if i == 7:
                assert "image[0]" in str(error)
            else:
                assert (error, result.get_response().id) == (None, str(i))
                assert len(result.as_numpy("label")) == 1 + i % 5
        client.stop_stream()


def test_asyncio(server: Server, boot: bytes) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for i in range(5):
            yield {"model_name": NAME, "inputs": [images(boot)], "request_id": str(i)}

    async def run() -> None:
        async with triton_aio.InferenceServerClient(address(server)) as client:
            assert await client.is_model_ready(NAME)
            results = await asyncio.gather(*(client.infer(NAME, [images(boot)]) for _ in range(8)))
            assert {result.as_numpy("label")[0] for result in results} == {b"Ankle boot"}
            streamed = [(error, result.get_response().id) async for result, error in client.stream_infer(requests())]
            assert streamed == [(None, str(i)) for i in range(5)]

    asyncio.run(run())


# --- the server and the model --------------------------------------------------------------------------------------


def test_descriptions_are_those_of_http(client: Any, http: httpx.Client, checkpoint: Checkpoint) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    for version in ("", "1", checkpoint.version[:12]):
        assert client.is_model_ready(NAME, version)
        expected = ParseDict(http.get(f"/v2/models/{NAME}").json(), service_pb2.ModelMetadataResponse())
        assert client.get_model_metadata(NAME, version) == expected
        expected = ParseDict(
            {"config": http.get(f"/v2/models/{NAME}/config").json()}, service_pb2.ModelConfigResponse()
        )
        assert client.get_model_config(NAME, version) == expected
    models = {"models": http.post("/v2/repository/index").json()}
    assert client.get_model_repository_index() == ParseDict(models, service_pb2.RepositoryIndexResponse())
    assert client.get_server_metadata().version == http.get("/v2").json()["version"]


def test_calls_are_counted_and_logged(server: Server, calls: Any, http: httpx.Client, boot: bytes) -> None:
    def counted() -> tuple[int, float]:
        (model,) = http.get("/v2/models/stats").json()["model_stats"]
        series = rf'^googlenet_http_requests_total{{route="{INFER}",status="200"}} (\S+)'
        found = re.search(series, http.get("/metrics").text, re.MULTILINE)
        return model["inference_stats"]["success"]["count"], float(found[1]) if found else 0.0

    before = counted()
    response, call = calls.unary_unary(INFER).with_call(
        raw_request(boot).SerializeToString(), metadata=[("x-request-id", "my-id.7")]
    )
    assert response
    assert ("x-request-id", "my-id.7") in call.trailing_metadata()
    after = counted()
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)
    wait_until(lambda: any("id=my-id.7" in line for line in server.log))
    (line,) = (line for line in server.log if "id=my-id.7" in line)
    assert re.search(rf"GRPC {INFER} 200 \d+\.\d ms .* bytes=\d+ grpc=OK", line)


def test_health_checking_protocol(calls: Any) -> None:
    stub = health_pb2_grpc.HealthStub(calls)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", "inference.GRPCInferenceService"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == serving
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert next(watch).status == serving
    watch.cancel()
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection(calls: Any) -> None:
    database = ProtoReflectionDescriptorDatabase(calls)
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(database.get_services())
    service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
    assert service.methods_by_name["ModelInfer"].input_type.fields_by_name["raw_input_contents"].number == 7


# --- what is refused -----------------------------------------------------------------------------------------------


def test_refusals(client: Any, boot: bytes, checkpoint: Checkpoint) -> None:
    array = checkpoint.golden.pixels[:1]
    shared = triton.InferInput("image", [1], "BYTES")
    shared.set_shared_memory("region", 10)
    cases = [
        ("INVALID_ARGUMENT", r"has shape", {"inputs": [pixels(array[:, :95])]}),
        ("INVALID_ARGUMENT", r"has datatype 'INT8'", {"inputs": [wrong_type(array)]}),
        ("INVALID_ARGUMENT", r"image\[1\]", {"inputs": [images(boot, b"no picture")]}),
        ("INVALID_ARGUMENT", r"no output 'other'", {"outputs": [triton.InferRequestedOutput("other")]}),
        ("INVALID_ARGUMENT", r"shared memory", {"inputs": [shared]}),
        ("INVALID_ARGUMENT", r"pictures in one request", {"inputs": [pixels(np.repeat(array, 1025, axis=0))]}),
        ("NOT_FOUND", r"no model 'other'", {"model_name": "other"}),
        ("NOT_FOUND", r"no version '2'", {"model_version": "2"}),
    ]
    for code, message, changed in cases:
        with pytest.raises(InferenceServerException, match=message) as caught:
            client.infer(**{"model_name": NAME, "inputs": [images(boot)], **changed})
        assert caught.value.status() == f"StatusCode.{code}"
    with pytest.raises(InferenceServerException) as caught:
        client.load_model(NAME)
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


def wrong_type(array: np.ndarray) -> Any:
    return triton.InferInput("pixels", list(array.shape), "INT8").set_data_from_numpy(array.astype(np.int8))


def test_contents_that_contradict_themselves(calls: Any, boot: bytes, checkpoint: Checkpoint) -> None:
    both = typed_request(boot)
    both.raw_input_contents.append(b"\0\0\0\0")
    too_few = raw_request(boot)
    too_few.inputs.add(name="pixels", datatype="UINT8", shape=[0, 96, 96])
    too_large = typed_request(array=checkpoint.golden.pixels[:1])
    too_large.inputs[0].contents.uint_contents[0] = 256
    other_field = typed_request(array=checkpoint.golden.pixels[:1])
    other_field.inputs[0].contents.int_contents.append(1)
    for message in (both, too_few, too_large, other_field, b"\xff\xff\xff", b"\x1f\x8b", b"\x2a\x00" * 200_000):
        with pytest.raises(grpc.RpcError) as caught:
            infer(calls, message)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


# --- where gRPC is not wanted, and the page that describes it --------------------------------------------------------


def test_nothing_of_grpc_is_loaded_without_its_port(server: Server) -> None:
    code = "import sys, app.main, app.http.serve; sys.exit(bool({'grpc', 'google.protobuf'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with run_server() as without_port:
        assert "cygrpc" not in loaded(without_port)
    assert "cygrpc" in loaded(server)


def loaded(server: Server) -> str:
    return Path(f"/proc/{server.process.pid}/maps").read_text()


def test_the_page_runs_as_it_is_written(server: Server) -> None:
    code = [at(server.url, example.code) for example in examples("docs/grpc.md", "python")]
    printed = run_python([part.replace("127.0.0.1:8001", address(server)) for part in code])
    assert "Ankle boot" in printed[0]
    assert "Bag" in printed[0]
    assert all(printed)
