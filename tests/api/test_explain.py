"""POST /explain: the maps are what the answer was made of, and the picture is the one the network saw."""

import base64
import io
from typing import Any

import httpx
import numpy as np
from conftest import PICTURES, run_server
from numpy.typing import NDArray
from PIL import Image

from model.checkpoint import Checkpoint
from model.labels import probabilities
from model.preprocess import preprocess


def test_the_maps_add_up_to_the_probabilities(checkpoint: Checkpoint, pictures: list[tuple[str, bytes]]) -> None:
    """Their means plus the head's bias are the logits: in single precision to the last digits that are sent."""
    bias, about = checkpoint.weights["head.bias"].astype(np.float32), checkpoint.metadata
    with run_server(GOOGLENET_ENGINE="torch", GOOGLENET_DEVICE="cpu") as server, server.client() as client:
        for _, png in pictures[::7]:
            answer = client.post("/explain", files={"file": png}).json()
            logits = grids(answer).mean(axis=(1, 2)) + bias
            expected = probabilities(logits[None], about.temperature, about.smoothing)[0]
            np.testing.assert_allclose(list(answer["probabilities"].values()), expected, atol=5e-4)


def test_so_they_do_in_lower_precision(
    client: httpx.Client, checkpoint: Checkpoint, pictures: list[tuple[str, bytes]]
) -> None:
    bias = checkpoint.weights["head.bias"].astype(np.float32)
    for _, png in pictures[::7]:
        answer = client.post("/explain", files={"file": png}).json()
        assert list(answer["maps"]) == list(answer["probabilities"]) == list(checkpoint.metadata.classes)
        logits = grids(answer).mean(axis=(1, 2)) + bias
        assert logits.max() - logits[answer["class_id"]] < 0.1


def grids(answer: dict[str, Any]) -> NDArray[np.float32]:
    """The maps of all classes, [10,3,3]."""
    maps = np.array(list(answer["maps"].values()), np.float32)
    assert maps.shape == (10, 3, 3)
    return maps


def test_it_shows_what_the_network_saw(client: httpx.Client, boot: bytes) -> None:
    for path in (PICTURES / "ankle-boot-0023.png", PICTURES / "bag-0018.png"):
        picture = Image.open(path).resize((300, 200)).rotate(30, fillcolor=200)
        file = io.BytesIO()
        picture.save(file, "PNG")
        for png in (path.read_bytes(), file.getvalue()):
            answer = client.post("/explain", content=png, headers={"content-type": "image/png"}).json()
            kind, _, data = answer["seen"].partition(",")
            assert kind == "data:image/png;base64"
            seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
            np.testing.assert_array_equal(seen, preprocess(Image.open(io.BytesIO(png))).pixels)


def test_otherwise_it_is_predict(client: httpx.Client, boot: bytes) -> None:
    response = client.post("/explain?top_k=2", files={"image": boot})
    assert {part.split(";")[0] for part in response.headers["server-timing"].split(", ")} == set(
        response.json()["timing_ms"]
    )
    explained, predicted = response.json(), client.post("/predict?top_k=2", files={"image": boot}).json()
    assert set(explained) - set(predicted) == {"maps", "seen"}
    assert set(predicted) <= set(explained)
    assert explained["label"] == predicted["label"]
    assert list(explained["maps"]) == list(explained["probabilities"])
    assert len(explained["maps"]) == 2
    refused = client.post("/explain", files={"file": b"text"})
    assert refused.status_code == 415
    assert refused.json()["code"] == "unsupported-format"


def test_it_is_described(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/explain"]["post"]
    assert operation["requestBody"] == document["paths"]["/predict"]["post"]["requestBody"]
    assert {"maps", "seen", "probabilities"} <= set(document["components"]["schemas"]["Explanation"]["properties"])
