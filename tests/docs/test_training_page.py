"""docs/training.md from its first line to its last, as it is written: pictures, training, exports, service."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import run_server
from support.documents import at, examples, install, run_python, run_shell

from model.checkpoint import Checkpoint

CLASSES = ("cross", "disc", "ring")


def code(*languages: str) -> list[str]:
    return [example.code for example in examples("docs/training.md", *languages)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guide")


@pytest.fixture(scope="module")
def printed(folder: Path) -> list[str]:
    """By train, info, export and classify."""
    run_python(code("python"), folder)
    return run_shell(code("sh"), folder, **install(folder / "bin"))


def test_it_learns_and_is_calibrated(printed: list[str], folder: Path) -> None:
    checkpoint = Checkpoint.load(folder / "runs/shapes/googlenet.safetensors")
    assert checkpoint.metadata.classes == CLASSES
    assert checkpoint.metadata.accuracy["test"] > 0.9
    assert checkpoint.metadata.temperature != 1
    assert checkpoint.detector is not None
    assert "GOOGLENET_CHECKPOINT=runs/shapes/googlenet.safetensors" in printed[0]
    assert "disc" in printed[1]


def test_every_engine_answers_with_its_classes(printed: list[str]) -> None:
    rows = [row for row in csv.DictReader(printed[3].splitlines()) if row["path"] != "path"]
    assert [(row["label"], row["error"]) for row in rows] == [("ring", "")] * 3


def test_it_is_served(printed: list[str], folder: Path, needs: Callable[..., None]) -> None:
    (serve,), (ask,) = code("sh serve"), code("sh ask")
    with run_server("sh", "-c", f"exec env {serve}", cwd=folder, **install(folder / "bin")) as server:
        (answer,) = run_shell([at(server.url, ask)], folder)
        with server.client() as client:
            health: dict[str, Any] = client.get("/health").json()
    told = json.loads(answer)
    assert told["label"] == "ring"
    assert tuple(told["probabilities"]) == CLASSES
    assert told["model"]["name"] == "googlenet-shapes"
    assert told["out_of_distribution"] is False
    assert health["engine"]["name"].startswith("openvino")
