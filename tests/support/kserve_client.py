"""What KServe's own client makes of a server; run by test_kserve.py with the Python of .venv-kserve.

python tests/support/kserve_client.py URL MODEL PICTURE   prints what it got, a JSON object
"""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

SIZE = 96


async def main(url: str, model: str, picture: bytes) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
    found: dict[str, Any] = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model_ready": await client.is_model_ready(url, model),
    }
    for sent in ("binary", "json"):
        for received in ("binary", "json"):
            asked = {"binary_data_output": True} if received == "binary" else {}
            images = of_files([picture, picture], binary=sent == "binary")
            request = InferRequest(model, [images], request_id="7", parameters=asked)
            answer = await client.infer(url, request, model_name=model)
            found[f"{sent}, {received}"] = told(answer)
    pixels = InferInput("pixels", [1, SIZE, SIZE], "UINT8")
    pixels.set_data_from_numpy(np.zeros((1, SIZE, SIZE), np.uint8))
    found["pixels"] = told(await client.infer(url, InferRequest(model, [pixels]), model_name=model))
    found["refused"] = await refusal(client, url, model)
    found["v1"] = await v1(url, model, picture)
    return found


async def v1(url: str, model: str, picture: bytes) -> dict[str, Any]:
    """The same by the older protocol: JSON objects that the client does not interpret."""
    client = InferenceRESTClient(RESTConfig(protocol="v1", timeout=60))
    file = {"image_bytes": {"b64": base64.b64encode(picture).decode()}}
    pixels = np.zeros((28, 28), int).tolist()
    answer = await client.infer(url, {"instances": [{**file, "key": "7"}, pixels]}, model_name=model)
    found = {
        "model_ready": await client.is_model_ready(url, model),
        "label": answer["predictions"][0]["label"],
        "key": answer["predictions"][0]["key"],
        "predictions": len(answer["predictions"]),
    }
    try:
        await client.infer(url, {"instances": [{"b64": "eA=="}]}, model_name=model)
    except Exception as error:
        found["refused"] = f"{type(error).__name__}: {error}"
    return found


def of_files(files: list[bytes], *, binary: bool) -> InferInput:
    values = files if binary else [base64.b64encode(file) for file in files]
    images = InferInput("image", [len(files)], "BYTES")
    images.set_data_from_numpy(np.array(values, dtype=object), binary_data=binary)
    return images


def told(answer: Any) -> dict[str, Any]:
    outputs = {output.name: output for output in answer.outputs}
    return {
        "id": answer.id,
        "shapes": {name: list(output.shape) for name, output in outputs.items()},
        "labels": [value.decode() if isinstance(value, bytes) else value for value in outputs["label"].data],
        "likeliest": outputs["probabilities"].as_numpy().argmax(axis=1).tolist(),
    }


async def refusal(client: InferenceRESTClient, url: str, model: str) -> str:
    """What it says of a file that is no picture."""
    request = InferRequest(model, [of_files([b"no picture"], binary=True)])
    try:
        await client.infer(url, request, model_name=model)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes()))))
