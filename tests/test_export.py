"""What the engines load fits the checkpoint, gives its answers, and is refused otherwise."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import Server, failed_start, run_server

from model.checkpoint import SHIPPED, Checkpoint, graph_file
from model.export import Export

SUFFIXES = (".xml", ".bin", ".json")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped checkpoint and its export, to be damaged."""
    for path in (SHIPPED, *(graph_file(SHIPPED).with_suffix(suffix) for suffix in SUFFIXES)):
        shutil.copy(path, tmp_path)
    return tmp_path / SHIPPED.name


def test_the_shipped_export_belongs_to_the_shipped_checkpoint(checkpoint: Checkpoint) -> None:
    export = Export.load(checkpoint)
    assert {"f32", "bf16"} <= set(export.golden)
    for precision, tolerance in (("f32", 1e-3), ("bf16", 0.03)):
        difference = np.abs(np.array(export.golden[precision]) - checkpoint.golden.probabilities).max()
        assert difference < tolerance, precision


def test_engines_agree(client: httpx.Client, pictures: list[tuple[str, bytes]]) -> None:
    files = [[("files", content) for _, content in pictures[i : i + 50]] for i in (0, 50)]
    with run_server(GOOGLENET_ENGINE="torch", GOOGLENET_DEVICE="cpu") as plain, plain.client() as other:
        assert other.get("/health").json()["engine"]["name"] == "torch"
        expected, found = (
            [answer for part in files for answer in c.post("/predict/batch", files=part).json()["predictions"]]
            for c in (other, client)
        )
    for a, b in zip(expected, found, strict=True):
        assert b["probabilities"] == pytest.approx(a["probabilities"], abs=0.05)
    assert sum(a["label"] == b["label"] for a, b in zip(expected, found, strict=True)) >= 99


def test_a_cpu_start_needs_no_torch(server: Server, client: httpx.Client) -> None:
    engine = client.get("/health").json()["engine"]
    if engine["device"] == "cpu":
        assert engine["name"] == "openvino"
        assert "libtorch" not in Path(f"/proc/{server.process.pid}/maps").read_text()


def refusal(checkpoint: Path) -> str:
    result = failed_start(GOOGLENET_CHECKPOINT=str(checkpoint), GOOGLENET_ENGINE="openvino")
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_damaged_export_is_refused(copy: Path) -> None:
    path = graph_file(copy).with_suffix(".bin")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "are damaged" in refusal(copy)
    path.unlink()
    assert "is missing" in refusal(copy)


def test_an_export_of_another_checkpoint_is_refused(copy: Path) -> None:
    path = graph_file(copy).with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "checkpoint": "0" * 64}))
    assert "was made from another checkpoint" in refusal(copy)


def test_an_export_with_wrong_answers_is_refused(copy: Path) -> None:
    path = graph_file(copy).with_suffix(".json")
    description = json.loads(path.read_text())
    description["golden"] = {precision: rows[1:] + rows[:1] for precision, rows in description["golden"].items()}
    path.write_text(json.dumps(description))
    assert "would answer wrongly" in refusal(copy)


def test_a_checkpoint_without_an_export_serves_all_the_same(copy: Path, boot: bytes) -> None:
    graph_file(copy).unlink()
    with run_server(GOOGLENET_CHECKPOINT=str(copy)) as server, server.client() as client:
        assert client.get("/health").json()["engine"]["name"] == "torch"
        assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"
        assert any("python -m model.export" in line for line in server.log)


def test_exporting_again_gives_the_same(copy: Path) -> None:
    before = Export.load(Checkpoint.load(copy))
    command = [sys.executable, "-m", "model.export", "--checkpoint", str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    after = Export.load(Checkpoint.load(copy))
    assert after.checkpoint == before.checkpoint
    assert np.abs(np.array(after.golden["f32"]) - np.array(before.golden["f32"])).max() < 1e-3
    assert sorted(path.name for path in copy.parent.iterdir()) == sorted(
        [SHIPPED.name, *(graph_file(SHIPPED).with_suffix(suffix).name for suffix in SUFFIXES)]
    )
