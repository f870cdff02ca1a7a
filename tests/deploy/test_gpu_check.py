"""The check of the GPU path goes through all its stages without a card, and shows what failed, hung or was cut off."""

import json
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHECK = [sys.executable, "deploy/gpu_check.py", "--device", "cpu"]

THROWS = "from benchmarks.gpu.reporting import report; report('before', 1); raise RuntimeError('thrown on purpose')"
HANGS = "import time; from benchmarks.gpu.reporting import report; report('before', 1); time.sleep(600)"
WORKS = "from benchmarks.gpu.reporting import report; report('found', 2)"


@pytest.fixture
def stages(tmp_path: Path) -> str:
    """PYTHONPATH with three stages: throws, hangs, works."""
    for name, code in (("throws", THROWS), ("hangs", HANGS), ("works", WORKS)):
        (tmp_path / f"{name}.py").write_text(code + "\n")
    return f"{tmp_path}:{ROOT}"


def results(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "gpu-cpu.json").read_text())
    return {stage["module"]: stage for stage in found["stages"]}


def test_every_stage_runs_on_a_cpu(tmp_path: Path) -> None:
    done = subprocess.run([*CHECK, "--small", "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    found = results(tmp_path)
    states = {module.rpartition(".")[2]: stage["state"] for module, stage in found.items()}
    assert states == dict.fromkeys(("correctness", "engine_speed", "service_speed", "training"), "done"), done.stdout
    assert [r for stage in found.values() for r in stage["results"] if not r["ok"]] == []
    assert done.returncode == 0
    assert (tmp_path / "average.safetensors").stat().st_size < 16 << 20
    assert (tmp_path / "gpu-cpu.md").read_text() in done.stdout


def test_a_stage_that_throws_or_hangs_is_shown_and_the_rest_is_whole(tmp_path: Path, stages: str) -> None:
    command = [*CHECK, "--out", str(tmp_path), "--only", "throws,hangs,works", "--limit", "10"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": stages}, capture_output=True, text=True)
    found = results(tmp_path)
    assert done.returncode == 1
    assert found["throws"]["state"] == "failed"
    assert "thrown on purpose" in found["throws"]["output"]
    assert found["hangs"]["state"] == "killed at its limit of 10 s"
    assert found["works"]["state"] == "done"
    for name in ("throws", "hangs"):
        assert found[name]["results"] == [{"name": "before", "value": 1, "ok": True}]
    assert found["works"]["results"] == [{"name": "found", "value": 2, "ok": True}]


def test_a_run_that_is_cut_off_has_shown_what_it_found(tmp_path: Path, stages: str) -> None:
    command = [*CHECK, "--out", str(tmp_path), "--only", "works,hangs"]
    with subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": stages}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("works: done")  # the next stage has begun, or is about to
        while results(tmp_path)["hangs"]["state"] == "not run":
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait() != 0
    found = results(tmp_path)
    assert found["works"]["results"] == [{"name": "found", "value": 2, "ok": True}]
    assert found["hangs"]["state"] == "cut off"


def test_the_documents_say_what_ran_on_a_card(tmp_path: Path) -> None:
    check = runpy.run_path(str(ROOT / "deploy" / "gpu_check.py"))
    assert "has not been run on a card yet" in check["gpu_line"](tmp_path)
    for document in check["DOCUMENTS"]:
        assert check["gpu_line"](ROOT / "benchmarks" / "results") in document.read_text().splitlines(), document
    rate = {"name": "batch of 256: engine, pictures/s", "value": {"median": 12345.6}, "ok": True}
    stages = [{"title": "Correctness", "state": "done", "results": [rate]}]
    (tmp_path / "gpu-a-card.json").write_text(json.dumps({"device": "A card", "stages": stages}))
    assert "On A card" in check["gpu_line"](tmp_path)
    assert "batches of 256 12,346 pictures/s" in check["gpu_line"](tmp_path)
