"""The ONNX file gives the checkpoint's answers by itself, and other servers' configurations fit it."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from numpy.typing import NDArray
from support.documents import ROOT, examples

from model.checkpoint import SHIPPED, Checkpoint
from model.export.openvino import ov
from model.labels import probabilities
from model.preprocess import VERSION

PAGE = "docs/onnx.md"
PATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
TOLERANCE = 1e-4
"""Of a probability: ten times what was measured. The padding is a whole gray level, not the exact mean."""


def run_export(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "model.export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported as a user does, beside a copy of the shipped checkpoint."""
    folder = tmp_path_factory.mktemp("onnx")
    copy = shutil.copy(SHIPPED, folder)
    done = run_export("--checkpoint", copy, "--onnx")
    assert done.returncode == 0, done.stderr
    assert str(folder / "googlenet.onnx") in done.stdout
    assert {path.name for path in folder.iterdir()} == {SHIPPED.name, "googlenet.onnx"}
    return folder / "googlenet.onnx"


@pytest.fixture(scope="module")
def session(file: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def of_logits(logits: NDArray[np.float32], checkpoint: Checkpoint) -> NDArray[np.float32]:
    return probabilities(logits, checkpoint.metadata.temperature, checkpoint.metadata.smoothing)


@pytest.mark.parametrize("batch", [1, 3, None])
def test_golden_answers(session: onnxruntime.InferenceSession, checkpoint: Checkpoint, batch: int | None) -> None:
    """In any batch size."""
    golden = checkpoint.golden
    logits, features, maps = session.run(None, {"pixels": golden.pixels[:batch]})
    found = of_logits(logits, checkpoint)
    assert np.abs(found - golden.probabilities[:batch]).max() < TOLERANCE
    assert (found.argmax(1) == golden.probabilities[:batch].argmax(1)).all()
    assert features.shape == (len(logits), 1024)
    bias = checkpoint.weights["head.bias"].astype(np.float32)
    assert np.abs(maps.mean(axis=(2, 3)) + bias - logits).max() < 1e-4


def test_openvino_reads_it_too(file: Path, checkpoint: Checkpoint) -> None:
    """OpenVINO Model Server loads it in this way."""
    compiled = ov.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = of_logits(compiled([checkpoint.golden.pixels])["logits"], checkpoint)
    assert np.abs(found - checkpoint.golden.probabilities).max() < TOLERANCE


def test_the_file_describes_itself(file: Path, checkpoint: Checkpoint) -> None:
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    said = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(said["classes"]) == list(checkpoint.metadata.classes)
    assert float(said["temperature"]) == checkpoint.metadata.temperature
    assert float(said["smoothing"]) == checkpoint.metadata.smoothing
    assert (said["name"], said["version"]) == (checkpoint.metadata.name, checkpoint.version)
    assert said["preprocessing"] == str(VERSION)
    assert {entry.domain: str(entry.version) for entry in model.opset_import} == {"": said["opset"]}
    assert str(ROOT).encode() not in file.read_bytes()  # the exporter notes the source of each node


def test_to_a_file_of_ones_choice(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "models" / "1" / "model.onnx"
    assert run_export("--onnx", "--out", target).returncode == 0
    assert onnx.load(target).graph == onnx.load(file).graph
    assert "--onnx" in run_export("--out", target).stderr


@pytest.mark.parametrize(
    "module", ["model.export.__main__", "model.export.export", "model.calibrate.calibrate", "app.main"]
)
def test_onnx_is_imported_by_its_export_alone(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'onnx', 'onnxscript', 'onnxruntime'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_no_onnx_file_is_committed() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.onnx"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert tracked.stdout == ""


# --- docs/onnx.md -----------------------------------------------------------------------------------------------


def example(language: str) -> str:
    (found,) = examples(PAGE, language)
    return found.code


def test_the_recipe_in_python(file: Path, tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (tmp_path / "googlenet.onnx").symlink_to(file)
    command = [sys.executable, "-c", example("python")]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": PATH})
    assert re.fullmatch(r"Ankle boot 0\.9\d+\n", said.stdout), said.stderr


def triton_model_config() -> Any:
    """Triton's own definition of a model configuration, without tritonclient.grpc, which needs grpcio."""
    (folder,) = importlib.util.find_spec("tritonclient").submodule_search_locations  # type: ignore[union-attr]
    path = Path(folder) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tritons_configuration(session: onnxruntime.InferenceSession) -> None:
    """Triton demands that names, types and dimensions are the file's; max_batch_size stands for the first dimension."""
    definition = triton_model_config()
    config = text_format.Parse(example("pbtxt"), definition.ModelConfig())
    assert config.backend == "onnxruntime"
    assert config.max_batch_size > 0
    types = {definition.TYPE_UINT8: "tensor(uint8)", definition.TYPE_FP32: "tensor(float)"}
    found = [(each.name, types[each.data_type], list(each.dims)) for each in (*config.input, *config.output)]
    tensors = [*session.get_inputs(), *session.get_outputs()]
    assert found == [(tensor.name, tensor.type, tensor.shape[1:]) for tensor in tensors]
    assert all(isinstance(tensor.shape[0], str) for tensor in tensors)  # any batch size


OPTIONS = {
    "name",
    "base_path",
    "target_device",
    "batch_size",
    "shape",
    "nireq",
    "plugin_config",
    "model_version_policy",
}
"""The options of a model in OpenVINO Model Server that are documented in its docs/parameters.md and used here."""


def test_openvino_model_servers_configuration(file: Path) -> None:
    config = json.loads(example("json"))
    assert list(config) == ["model_config_list"]
    for model in config["model_config_list"]:
        assert list(model) == ["config"]
        assert {"name", "base_path"} <= set(model["config"]) <= OPTIONS
        hints = model["config"]["plugin_config"]
        ov.Core().compile_model(file, model["config"]["target_device"], hints)  # raises for an unknown hint
