"""Distillation: teachers label the pictures that they have not trained on, and a student learns from these labels."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.training import two_classes

from model.checkpoint import Checkpoint
from model.train.training_set import SoftLabels

TEACHER = ("--recipe", "teacher", "--set", "batch_size=8", "--set", "phases=[[28,6]]", "--set", "learning_rate=0.02")
STUDENT = ("--recipe", "quick", "--set", "batch_size=8", "--set", "phases=[[32,1]]")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("tree"))


def run(module: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def teachers(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two finished runs, each without the other half of the pictures."""
    root = tmp_path_factory.mktemp("teachers")
    for k in range(2):
        result = run("model.train", *TEACHER, "--set", f"left_out=[{k},2]", "--data", tree, "--out", root / str(k))
        assert result.returncode == 0, result.stderr
        assert "python -m model.train.distillation" in result.stdout
    return [root / "0", root / "1"]


@pytest.fixture(scope="module")
def soft_labels(tree: Path, teachers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("labels") / "soft.safetensors"
    result = run("model.train.distillation", *teachers, "--data", tree, "--out", file)
    assert result.returncode == 0, result.stderr
    (right,) = re.findall(r"([\d.]+) % of the training pictures are labelled correctly", result.stdout)
    assert float(right) > 85  # of pictures that the teachers have not trained on
    return file


def test_a_student_learns_from_soft_labels(tree: Path, soft_labels: Path, tmp_path: Path) -> None:
    labels = SoftLabels.load(soft_labels)
    assert labels.logits.shape[1] == 2
    arguments = (*STUDENT, "--set", "soft_label_weight=0.7", "--soft-labels", soft_labels)
    result = run("model.train", *arguments, "--data", tree, "--out", tmp_path / "student")
    assert result.returncode == 0, result.stderr
    training = Checkpoint.load(tmp_path / "student" / "googlenet.safetensors").metadata.training
    assert [teacher["recipe"]["left_out"] for teacher in training["teachers"]] == [[0, 2], [1, 2]]
    assert training["recipe"]["soft_label_weight"] == 0.7


def test_missing_or_wrong_soft_labels_are_one_clear_line(tree: Path, soft_labels: Path, tmp_path: Path) -> None:
    student = (*STUDENT, "--set", "soft_label_weight=0.7", "--out", tmp_path / "student")
    assert "--soft-labels" in failure("model.train", *student, "--data", tree)
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    next((other / "trouser").iterdir()).unlink()
    assert "other data" in failure("model.train", *student, "--data", other, "--soft-labels", soft_labels)
    assert "no soft labels" in failure("model.train", *student, "--data", tree, "--soft-labels", __file__)


def test_teachers_must_be_finished_and_cover_all_pictures(tree: Path, teachers: list[Path], tmp_path: Path) -> None:
    out = ("--data", tree, "--out", tmp_path / "soft.safetensors")
    assert "left_out" in failure("model.train.distillation", teachers[0], *out)
    assert "holds no run" in failure("model.train.distillation", tmp_path, *out)


def failure(module: str, *arguments: object) -> str:
    result = run(module, *arguments)
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    return line
