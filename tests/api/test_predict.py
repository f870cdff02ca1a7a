"""A picture goes in over HTTP, the right answer comes out."""

import asyncio
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import PICTURES, Server
from PIL import Image

from app.api.schemas import Prediction
from model.checkpoint import Checkpoint
from model.data import Dataset
from model.evaluate.measurements import confusion_matrix
from model.predict import load_graph, predict, serving_pixels


def png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def test_a_boot_is_an_ankle_boot(client: httpx.Client, boot: bytes, checkpoint: Checkpoint) -> None:
    response = client.post("/predict", files={"file": ("boot.png", boot, "image/png")})
    assert response.status_code == 200
    answer = response.json()
    Prediction.model_validate(answer, strict=False)
    assert answer["label"] == "Ankle boot"
    assert answer["class_id"] == 9
    assert answer["confidence"] == max(answer["probabilities"].values())
    assert list(answer["probabilities"]) == list(checkpoint.metadata.classes)
    assert abs(sum(answer["probabilities"].values()) - 1) < 1e-3
    assert answer["model"] == {"name": "googlenet-fashion-mnist", "version": checkpoint.version[:12]}
    native = {"mode": "native", "inverted": False, "crop": [0, 0, 28, 28], "certain": True, "rotation": 0}
    assert answer["preprocessing"] == native
    timing = dict(part.strip().split(";dur=") for part in response.headers["server-timing"].split(","))
    assert {name: float(ms) for name, ms in timing.items()} == answer["timing_ms"]


def test_curl_as_in_the_readme(server: Server, needs: Callable[[bool, str], None]) -> None:
    needs(shutil.which("curl") is not None, "curl")
    picture = PICTURES / "ankle-boot-0000.png"
    sent = subprocess.run(["curl", "-sSf", "-F", f"file=@{picture}", f"{server.url}/predict"], capture_output=True)
    assert json.loads(sent.stdout)["label"] == "Ankle boot"


@pytest.mark.parametrize("way", ["file", "image", "image/png", "application/octet-stream", "image/anything", None])
def test_every_way_of_sending_gives_the_same(client: httpx.Client, boot: bytes, way: str | None) -> None:
    expected = client.post("/predict", files={"file": boot}).json()["probabilities"]
    if way in ("file", "image"):
        response = client.post("/predict", files={way: ("no matter.txt", boot, "text/plain")})
    else:
        response = client.post("/predict", content=boot, headers={"content-type": way} if way else {})
    assert response.status_code == 200
    assert response.json()["probabilities"] == pytest.approx(expected, abs=1e-3)


def test_a_body_without_a_length(client: httpx.Client, boot: bytes) -> None:
    chunks = (boot[i : i + 50] for i in range(0, len(boot), 50))
    response = client.post("/predict", content=chunks, headers={"content-type": "image/png"})
    assert response.json()["label"] == "Ankle boot"


def test_top_k(client: httpx.Client, boot: bytes) -> None:
    answer = client.post("/predict?top_k=3", files={"file": boot}).json()
    values = list(answer["probabilities"].values())
    assert len(values) == 3
    assert values == sorted(values, reverse=True)
    assert next(iter(answer["probabilities"])) == "Ankle boot"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format(client: httpx.Client, boot: bytes, format: str) -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(boot)).save(file, format, **({"lossless": True} if format == "WEBP" else {}))
    assert client.post("/predict", files={"file": file.getvalue()}).json()["label"] == "Ankle boot"


def test_a_48_megapixel_jpeg(client: httpx.Client, boot: bytes) -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(boot)).resize((8000, 6000)).save(file, "JPEG")
    response = client.post("/predict", files={"file": file.getvalue()})
    assert response.status_code == 200
    assert response.json()["label"] == "Ankle boot"
    assert response.json()["preprocessing"]["crop"] == [0, 0, 8000, 6000]


def test_many_pictures_at_once(client: httpx.Client, pictures: list[tuple[str, bytes]]) -> None:
    sent = [*pictures[:10], ("broken", b"not a picture"), *pictures[10:20], ("broken", pictures[0][1][:60])]
    response = client.post("/predict/batch", files=[("files", content) for _, content in sent])
    assert response.status_code == 200
    answers = response.json()["predictions"]
    assert len(answers) == len(sent)
    assert [answer["error"]["code"] for answer in answers if "error" in answer] == [
        "unsupported-format",
        "undecodable-picture",
    ]
    for (name, content), answer in zip(sent, answers, strict=True):
        if name != "broken":
            alone = client.post("/predict", files={"file": content}).json()
            assert answer["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-3)


def test_a_batch_of_nothing_but_broken_pictures(client: httpx.Client) -> None:
    response = client.post("/predict/batch", files=[("files", b"one"), ("files", b"two")])
    assert response.status_code == 200
    assert [answer["error"]["status"] for answer in response.json()["predictions"]] == [415, 415]


def test_64_clients_get_what_each_gets_alone(server: Server, pictures: list[tuple[str, bytes]]) -> None:
    with server.client() as client:
        alone = [client.post("/predict", files={"file": content}).json() for _, content in pictures]

    async def storm() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=120, limits=httpx.Limits(max_connections=64)
        ) as client:
            requests = [client.post("/predict", files={"file": content}) for _, content in pictures * 5]
            return await asyncio.gather(*requests)

    responses = asyncio.run(storm())
    assert [response.status_code for response in responses] == [200] * 500
    for response, expected in zip(responses, alone * 5, strict=True):
        assert response.json()["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)
    assert max(response.json()["batch_size"] for response in responses) > 1


def test_a_thousand_pictures_score_over_http_what_evaluate_gives(
    server: Server, fashion_mnist: Dataset, checkpoint: Checkpoint
) -> None:
    test = fashion_mnist.test[:1000]
    evaluated = predict(load_graph(checkpoint), serving_pixels(test.pixels)).argmax(1)
    with server.client() as client:
        right = 0
        for start in range(0, 1000, 50):
            batch = test[start : start + 50]
            files = [("files", png(picture)) for picture in batch.pixels.numpy()]
            answers = client.post("/predict/batch", files=files).json()["predictions"]
            right += sum(
                answer["class_id"] == label for answer, label in zip(answers, batch.labels.tolist(), strict=True)
            )
    expected = int(confusion_matrix(evaluated, test.labels, 10).diagonal().sum())
    assert abs(right - expected) <= 2
    assert right >= 900


def test_evaluate_names_its_thousand(fashion_mnist: Dataset) -> None:
    command = [sys.executable, "-m", "model.evaluate", "--first", "1000"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[2])
    assert "of 1000)" in result.stdout
