"""What is no garment is called so over HTTP, and garments mostly are not."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from model.data import Dataset, Split
from model.evaluate import outlier_sets


def flagged(client: httpx.Client, images: list[Image.Image]) -> float:
    """Share called out of distribution."""
    answers = predict(client, images)
    return sum(answer["out_of_distribution"] for answer in answers) / len(answers)


def predict(client: httpx.Client, images: list[Image.Image], **query: str) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for start in range(0, len(images), 50):
        files = [("files", png(image)) for image in images[start : start + 50]]
        answers += client.post("/predict/batch", files=files, params=query).json()["predictions"]
    assert len(answers) == len(images)
    return answers


def turned(split: Split, quarters: int) -> list[Image.Image]:
    return [Image.fromarray(np.rot90(picture, quarters)) for picture in split.pixels.numpy()]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def every(step: int, images: Iterator[Image.Image]) -> list[Image.Image]:
    return list(images)[::step]


def test_every_answer_says_it(client: httpx.Client, boot: bytes) -> None:
    answer = client.post("/predict", files={"file": boot}).json()
    assert answer["out_of_distribution"] is False
    assert isinstance(answer["ood_score"], float)
    text = next(outlier_sets.letters())
    stranger = client.post("/predict", files={"file": png(text)}).json()
    assert stranger["out_of_distribution"] is True
    assert stranger["ood_score"] > answer["ood_score"]
    alone = client.post("/predict/batch", files=[("files", boot)]).json()["predictions"][0]
    assert alone["ood_score"] == pytest.approx(answer["ood_score"], abs=0.2)


@pytest.mark.parametrize("name", outlier_sets.SETS)
def test_strangers_are_flagged(client: httpx.Client, name: str) -> None:
    assert flagged(client, every(5, outlier_sets.SETS[name]())) >= 0.8


def test_garments_mostly_are_not(client: httpx.Client, fashion_mnist: Dataset) -> None:
    validation = [Image.fromarray(picture) for picture in fashion_mnist.validation.pixels.numpy()]
    test = [Image.fromarray(picture) for picture in fashion_mnist.test[:5000].pixels.numpy()]
    assert flagged(client, validation) <= 0.05
    assert flagged(client, test) <= 0.06


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_garments_are_no_confident_others(client: httpx.Client, fashion_mnist: Dataset, quarters: int) -> None:
    """A coat on its side used to be a bag, with a probability of 0.995."""
    split, classes = fashion_mnist.validation[:1000], fashion_mnist.classes
    answers = predict(client, turned(split, quarters))
    wrong = [
        answer["confidence"] > 0.8 and not answer["out_of_distribution"] and answer["label"] != classes[label]
        for answer, label in zip(answers, split.labels.tolist(), strict=True)
    ]
    assert sum(wrong) <= 0.02 * len(split)


def test_the_hundred_pictures_mostly_are_not(client: httpx.Client, pictures: list[tuple[str, bytes]]) -> None:
    assert flagged(client, [Image.open(io.BytesIO(content)) for _, content in pictures]) <= 0.12
