"""Distillation: teachers are trained first, then a student learns from their answers."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from support.training import two_classes

from model import data
from model.checkpoint import Checkpoint

TEACHER = ("--recipe", "teacher", "--set", "batch_size=8", "--set", "phases=[[28,3]]", "--set", "learning_rate=0.02")
STUDENT = ("--recipe", "quick", "--set", "batch_size=8", "--set", "phases=[[32,1]]")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("tree"))


def train(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "model.train", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def teacher(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    result = train(*TEACHER, "--data", tree, "--out", folder)
    assert result.returncode == 0, result.stderr
    (validation,) = re.findall(r"teacher.safetensors: validation ([\d.]+) %", result.stdout)
    assert float(validation) > 85
    return folder / "teacher.safetensors"


def test_a_student_learns_from_its_teachers(tree: Path, teacher: Path, tmp_path: Path) -> None:
    """Boots are labelled trousers and trousers boots: only the teacher, which does not know that, is believed."""
    swapped, misled = tmp_path / "swapped", tmp_path / "teacher.safetensors"
    for name, other in (("ankle-boot", "trouser"), ("trouser", "ankle-boot")):
        shutil.copytree(tree / name, swapped / other)
    with safe_open(teacher, framework="pt") as file:
        values = json.loads(file.metadata()["teacher"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    values["provenance"]["data"] = data.load(swapped).checksums
    save_file(tensors, misled, metadata={"teacher": json.dumps(values)})
    student = ("--set", "phases=[[32,6]]", "--set", "soft_target_weight=1.0", "--teachers", misled)
    result = train(*STUDENT, *student, "--data", swapped, "--out", tmp_path / "student")
    assert result.returncode == 0, result.stderr
    training = Checkpoint.load(tmp_path / "student" / "googlenet.safetensors").metadata.training
    assert [teacher["recipe"]["network"] for teacher in training["teachers"]] == ["wide_resnet"]
    assert training["history"][-1]["accuracy"] < 0.4  # of the labels; who believes them has 0.85 and more


def test_missing_or_wrong_teachers_are_one_clear_line(tree: Path, teacher: Path, tmp_path: Path) -> None:
    student = (*STUDENT, "--out", tmp_path / "student")
    soft = ("--set", "soft_target_weight=0.7")
    assert "teachers" in failure(*student, *soft, "--data", tree)
    assert "soft_target_weight" in failure(*student, "--teachers", teacher, "--data", tree)
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    next((other / "trouser").iterdir()).unlink()
    assert "other data" in failure(*student, *soft, "--data", other, "--teachers", teacher)
    assert "no teacher" in failure(*student, *soft, "--data", tree, "--teachers", __file__)


def failure(*arguments: object) -> str:
    result = train(*arguments)
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    return line
