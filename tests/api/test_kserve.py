"""/v1 and /v2 with KServe's own client, in its own environment: its dependencies contradict the service's."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import PICTURES, Server

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-kserve" / "bin" / "python"
NAME = "googlenet-fashion-mnist"
SHAPES = {"probabilities": [2, 10], "logits": [2, 10], "label": [2]}


@pytest.fixture(scope="module")
def found(server: Server, needs: Callable[..., None]) -> dict[str, Any]:
    """What it got of two boots, of a black picture and of a file that is none."""
    needs((ROOT / ".venv-kserve" / ".client").exists(), "KServe's client", by="make kserve")
    command = [PYTHON, ROOT / "tests/support/kserve_client.py", server.url, NAME, PICTURES / "ankle-boot-0000.png"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_it_finds_server_and_model_ready(found: dict[str, Any]) -> None:
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)


@pytest.mark.parametrize("received", ["binary", "json"])
@pytest.mark.parametrize("sent", ["binary", "json"])
def test_it_gets_its_answers(found: dict[str, Any], sent: str, received: str) -> None:
    boots = {"id": "7", "shapes": SHAPES, "labels": ["Ankle boot"] * 2, "likeliest": [9, 9]}
    assert found[f"{sent}, {received}"] == boots


def test_it_sends_pixels(found: dict[str, Any]) -> None:
    assert found["pixels"]["shapes"] == {name: [1, *shape[1:]] for name, shape in SHAPES.items()}


def test_it_is_told_what_is_wrong(found: dict[str, Any]) -> None:
    assert "image[0]" in found["refused"]


def test_it_speaks_v1(found: dict[str, Any]) -> None:
    v1 = found["v1"]
    refused = v1.pop("refused")
    assert v1 == {"model_ready": True, "label": "Ankle boot", "key": "7", "predictions": 2}
    assert "instances[0]" in refused
    assert "400 Bad Request" in refused
