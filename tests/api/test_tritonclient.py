"""/v2 with Triton's own client, unchanged: as it comes, sync and asyncio, JSON and binary."""

import asyncio
import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from conftest import Server
from tritonclient.utils import InferenceServerException

from model.checkpoint import Checkpoint, Golden

ROOT = Path(__file__).parents[2]
NAME = "googlenet-fashion-mnist"
OUTPUTS = ("probabilities", "logits", "label")

Client = triton.InferenceServerClient


@pytest.fixture(scope="module")
def client(server: Server) -> Any:
    with Client(server.url.removeprefix("http://"), network_timeout=60, connection_timeout=60) as client:
        yield client


def images(files: list[bytes], binary: bool) -> Any:
    values = files if binary else [base64.b64encode(file) for file in files]
    array = np.array(values, dtype=object)
    return triton.InferInput("image", [len(files)], "BYTES").set_data_from_numpy(array, binary_data=binary)


def pixels(array: np.ndarray, binary: bool = True) -> Any:
    return triton.InferInput("pixels", list(array.shape), "UINT8").set_data_from_numpy(array, binary_data=binary)


def wanted(binary: bool) -> Any:
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in OUTPUTS]


def text(values: np.ndarray) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else value for value in values.ravel()]


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("received", [True, False, None])
def test_infer(client: Any, golden: Golden, boot: bytes, sent: bool, received: bool | None) -> None:
    asked = None if received is None else wanted(received)
    result = client.infer(NAME, [pixels(golden.pixels, sent)], outputs=asked, request_id="a 1")
    assert np.abs(result.as_numpy("probabilities") - golden.probabilities).max() < 0.05
    assert result.as_numpy("logits").dtype == np.float32
    assert result.get_response()["id"] == "a 1"
    result = client.infer(NAME, [images([boot, boot], sent)], model_version="1", outputs=asked)
    assert text(result.as_numpy("label")) == ["Ankle boot"] * 2


@pytest.mark.parametrize("request_compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_compression", [None, "gzip", "deflate"])
def test_compression(
    client: Any, boot: bytes, request_compression: str | None, response_compression: str | None
) -> None:
    result = client.infer(
        NAME,
        [images([boot], True)],
        request_compression_algorithm=request_compression,
        response_compression_algorithm=response_compression,
    )
    assert text(result.as_numpy("label")) == ["Ankle boot"]


def test_classification(client: Any, boot: bytes) -> None:
    for binary in (True, False):
        asked = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
        found = client.infer(NAME, [images([boot], True)], outputs=asked).as_numpy("probabilities")
        assert found.shape == (1, 2)
        assert re.fullmatch(r"0\.9\d+:9:Ankle boot", text(found)[0])


def test_many_in_flight(server: Server, golden: Golden) -> None:
    with Client(server.url.removeprefix("http://"), concurrency=8, network_timeout=60) as client:
        running = [client.async_infer(NAME, [pixels(golden.pixels)]) for _ in range(24)]
        for request in running:
            found = request.get_result().as_numpy("probabilities")
            assert np.abs(found - golden.probabilities).max() < 0.05


def test_the_server_and_its_model(client: Any, checkpoint: Checkpoint) -> None:
    version = checkpoint.version[:12]
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.is_model_ready(NAME, version)
    assert not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata(NAME)["versions"] == [version]
    assert client.get_model_config(NAME)["name"] == NAME
    assert client.get_model_repository_index() == [{"name": NAME, "version": version, "state": "READY", "reason": ""}]
    for name in ("", NAME):
        assert client.get_inference_statistics(name)["model_stats"][0]["execution_count"] > 0


def test_errors_arrive_as_its_exceptions(client: Any, boot: bytes) -> None:
    with pytest.raises(InferenceServerException, match=r"image\[1\]") as caught:
        client.infer(NAME, [images([boot, b"no picture"], True)])
    assert caught.value.status() == "400"
    with pytest.raises(InferenceServerException, match="there is no model 'other'"):
        client.infer("other", [images([boot], True)])
    with pytest.raises(InferenceServerException, match="there is no output 'other'"):
        client.infer(NAME, [images([boot], True)], outputs=[triton.InferRequestedOutput("other")])
    with pytest.raises(InferenceServerException, match="shared memory"):
        client.infer(NAME, [triton.InferInput("image", [1], "BYTES").set_shared_memory("region", 10)])
    with pytest.raises(InferenceServerException):
        client.load_model(NAME)


def test_asyncio(server: Server, golden: Golden, boot: bytes) -> None:
    async def run() -> None:
        async with triton_aio.InferenceServerClient(server.url.removeprefix("http://"), conn_timeout=60) as client:
            assert await client.is_model_ready(NAME)
            assert (await client.get_model_metadata(NAME))["name"] == NAME
            for binary in (True, False):
                requests = [client.infer(NAME, [images([boot], binary)], outputs=wanted(binary)) for _ in range(4)]
                for result in await asyncio.gather(*requests):
                    assert text(result.as_numpy("label")) == ["Ankle boot"]
            packed = await client.infer(
                NAME,
                [pixels(golden.pixels)],
                request_compression_algorithm="gzip",
                response_compression_algorithm="gzip",
            )
            assert np.abs(packed.as_numpy("probabilities") - golden.probabilities).max() < 0.05
            with pytest.raises(InferenceServerException, match=r"image\[0\]"):
                await client.infer(NAME, [images([b"x"], True)])

    asyncio.run(run())


# --- the recipes of docs/inference-v2.md, as they stand there ------------------------------------------------------


def recipes(language: str, server: Server) -> list[str]:
    document = (ROOT / "docs" / "inference-v2.md").read_text().replace("localhost:8000", server.url[7:])
    return re.findall(rf"```{language}\n(.*?)```", document, re.DOTALL)


def test_the_recipe_in_python(server: Server) -> None:
    (recipe,) = recipes("python", server)
    said = subprocess.run([sys.executable, "-c", recipe], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "Ankle boot" in said
    assert "Bag" in said


def test_the_recipes_in_shell(server: Server, tmp_path: Path) -> None:
    raw, in_json = recipes("sh", server)
    raw = raw.replace("answer.bin", str(tmp_path / "answer.bin"))
    subprocess.run(["bash", "-ec", raw], cwd=ROOT, check=True)
    assert b"Ankle boot" in (tmp_path / "answer.bin").read_bytes()
    said = subprocess.run(["bash", "-ec", in_json], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(said)["outputs"][0]["data"][0].endswith(":9:Ankle boot")
