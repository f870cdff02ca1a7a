"""The shipped file says all that serving needs, and no damaged file is ever served."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import failed_start
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from model.checkpoint import FORMAT, SHIPPED, Checkpoint, CheckpointError, _digest
from model.labels import probabilities
from model.predict import load_graph, predict


def test_the_shipped_checkpoint_describes_itself(checkpoint: Checkpoint) -> None:
    metadata = checkpoint.metadata
    assert metadata.classes[0] == "T-shirt/top"
    assert metadata.classes[9] == "Ankle boot"
    assert metadata.input_size == 96
    assert {"recipe", "seed", "data", "git_commit"} <= set(metadata.training)
    assert {array.dtype for array in checkpoint.weights.values()} == {np.dtype(np.float16)}
    assert sum(array.size for array in checkpoint.weights.values()) == 5_977_530
    assert SHIPPED.stat().st_size < 13_000_000


def test_golden_pictures_get_their_probabilities(checkpoint: Checkpoint) -> None:
    logits = predict(load_graph(checkpoint), torch.from_numpy(checkpoint.golden.pixels)).numpy()
    found = probabilities(logits, checkpoint.metadata.temperature, checkpoint.metadata.smoothing)
    assert len(found) >= 3
    assert np.abs(found - checkpoint.golden.probabilities).max() < 1e-3


def test_saving_and_loading_keeps_everything(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "copy.safetensors")
    copy = Checkpoint.load(tmp_path / "copy.safetensors")
    assert copy.version == checkpoint.version
    assert copy.metadata == checkpoint.metadata
    assert list(tmp_path.iterdir()) == [tmp_path / "copy.safetensors"]


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("position", [3, 40, 3_000, 100_000, 6_000_000, -1])
def test_one_flipped_bit_is_refused(tmp_path: Path, position: int) -> None:
    path = tmp_path / "flipped.safetensors"
    shutil.copy(SHIPPED, path)
    flip(path, position)
    with pytest.raises(CheckpointError):
        Checkpoint.load(path)


def test_the_service_does_not_start_on_a_bad_file(tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        result = failed_start(GOOGLENET_CHECKPOINT=str(path))
        assert result.returncode != 0
        assert "Traceback" not in result.stderr
        (line,) = [line for line in result.stderr.splitlines() if str(path) in line]
        return line

    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(SHIPPED.read_bytes()[:1_000_000])
    pickled = tmp_path / "pickled.pt"
    torch.save({"weight": torch.zeros(3)}, pickled)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": np.zeros(3)}, foreign)
    flipped = tmp_path / "flipped.safetensors"
    shutil.copy(SHIPPED, flipped)
    flip(flipped, 5_000_000)
    assert "there is no checkpoint" in refusal(tmp_path / "missing.safetensors")
    assert "not a readable safetensors file" in refusal(truncated)
    assert "not a readable safetensors file" in refusal(pickled)
    assert "is not a fashion-googlenet/1 checkpoint" in refusal(foreign)
    assert "is damaged" in refusal(flipped)


@pytest.mark.parametrize(
    ("part", "named"),
    [("speed", "speed"), ("mean", "mean"), ("golden.pixels", "golden.pixels"), ("detector.hidden_bias", "hidden_bias")],
    ids=["unknown value", "missing value", "no golden pictures", "part of a detector"],
)
def test_a_file_of_another_version_is_one_clear_error(tmp_path: Path, part: str, named: str) -> None:
    with safe_open(SHIPPED, framework="numpy") as file:
        tensors, values = load_file(SHIPPED), json.loads(file.metadata()["metadata"])
    if part in tensors:
        del tensors[part]
    elif part in values:
        del values[part]
    else:
        values[part] = 1
    metadata = {"format": FORMAT, "metadata": json.dumps(values)}
    path = tmp_path / "other.safetensors"
    save_file(tensors, path, metadata={**metadata, "digest": _digest(tensors, metadata)})
    with pytest.raises(CheckpointError, match=rf"^\S+other.safetensors lacks a part or has an unknown one \(.*{named}"):
        Checkpoint.load(path)


def test_weights_of_another_architecture_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    weights = dict(list(checkpoint.weights.items())[:-2])
    Checkpoint(weights, checkpoint.golden, checkpoint.metadata).save(path)
    result = failed_start(GOOGLENET_CHECKPOINT=str(path))
    assert result.returncode != 0
    assert "do not fit GoogLeNet" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_file_is_plain_safetensors() -> None:
    assert load_file(SHIPPED)["network.head.weight"].shape == (10, 1024)


def test_arrays_of_any_layout_are_stored_as_they_are(checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert checkpoint.detector is not None
    turned = replace(checkpoint.detector, hidden_weight=np.asfortranarray(checkpoint.detector.hidden_weight))
    replace(checkpoint, detector=turned).save(tmp_path / "turned.safetensors")
    stored = Checkpoint.load(tmp_path / "turned.safetensors").detector
    assert stored is not None
    np.testing.assert_array_equal(stored.hidden_weight, checkpoint.detector.hidden_weight)
