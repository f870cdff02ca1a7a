"""What the engines load fits the checkpoint, gives its answers, and is refused otherwise."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Server, failed_start, run_server

from app.inference.engines.choose import MARGIN, has_amx, has_fast_int8
from model import data
from model.checkpoint import SHIPPED, Checkpoint, graph_file
from model.export.export import export
from model.export.manifest import Export
from model.export.openvino import best_precision

GRAPHS = ("openvino", "openvino-int8")
SUFFIXES = (".xml", ".bin", ".json")


def files(checkpoint: Path, graph: str) -> list[Path]:
    return [graph_file(checkpoint, graph).with_suffix(suffix) for suffix in SUFFIXES]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped checkpoint and its exports, to be damaged."""
    for path in (SHIPPED, *files(SHIPPED, "openvino"), *files(SHIPPED, "openvino-int8")):
        shutil.copy(path, tmp_path)
    return tmp_path / SHIPPED.name


@pytest.mark.parametrize(
    ("graph", "tolerances"),
    [("openvino", {"f32": 1e-3, "bf16": 0.03}), ("openvino-int8", {"f32": 0.1})],
)
def test_the_shipped_exports_belong_to_the_shipped_checkpoint(
    checkpoint: Checkpoint, graph: str, tolerances: dict[str, float]
) -> None:
    export = Export.load(checkpoint, graph)
    assert set(tolerances) == set(export.precisions)
    for precision, tolerance in tolerances.items():
        golden = np.array(export.precisions[precision].golden)
        assert np.abs(golden - checkpoint.golden.probabilities).max() < tolerance, precision


def test_int8_is_accepted_if_it_is_as_good(checkpoint: Checkpoint) -> None:
    reference = Export.load(checkpoint, "openvino").precisions["f32"].accuracy
    int8 = Export.load(checkpoint, "openvino-int8")
    assert reference is not None
    assert reference == pytest.approx(checkpoint.metadata.accuracy["validation"], abs=0.001)
    losses = [reference - (known.accuracy or 0) for known in int8.precisions.values()]
    assert int8.accepted == (max(losses) <= 0.001 + 1e-9)


def test_engines_agree(pictures: list[tuple[str, bytes]]) -> None:
    parts = [[("files", content) for _, content in pictures[i : i + 50]] for i in (0, 50)]
    answers = []
    for engine in ("torch", "openvino"):
        with run_server(GOOGLENET_ENGINE=engine, GOOGLENET_DEVICE="cpu") as server, server.client() as client:
            assert client.get("/health").json()["engine"]["name"] == engine
            batches = [client.post("/predict/batch", files=part).json()["predictions"] for part in parts]
            answers.append([answer for batch in batches for answer in batch])
    expected, found = answers
    for a, b in zip(expected, found, strict=True):
        assert b["probabilities"] == pytest.approx(a["probabilities"], abs=0.05)
    assert sum(a["label"] == b["label"] for a, b in zip(expected, found, strict=True)) >= 99


def test_int8_keeps_the_labels(pictures: list[tuple[str, bytes]]) -> None:
    parts = [[("files", content) for _, content in pictures[i : i + 50]] for i in (0, 50)]
    labels = []
    for engine, precisions in (("openvino", ("bf16", "fp32")), ("openvino-int8", ("int8",))):
        with run_server(GOOGLENET_ENGINE=engine) as server, server.client() as other:
            about = other.get("/health").json()["engine"]
            assert (about["name"], about["device"]) == (engine, "cpu")
            assert about["precision"] in precisions
            assert "auto chose" not in "".join(server.log)
            answers = [other.post("/predict/batch", files=part).json()["predictions"] for part in parts]
            labels.append([answer["label"] for part in answers for answer in part])
    assert sum(a == b for a, b in zip(*labels, strict=True)) >= 97


def test_a_cpu_start_needs_no_torch(server: Server, client: httpx.Client) -> None:
    engine = client.get("/health").json()["engine"]
    if engine["device"] == "cpu":
        int8 = has_fast_int8() and Export.read(Checkpoint.load(SHIPPED), "openvino-int8").accepted
        assert engine["name"] in ({"openvino-int8", "openvino"} if int8 else {"openvino"})
        assert "libtorch" not in Path(f"/proc/{server.process.pid}/maps").read_text()


def test_auto_takes_the_faster_of_int8_and_bf16_if_the_cpu_has_amx() -> None:
    with run_server(GOOGLENET_DEVICE="cpu") as server, server.client() as client:
        precision = client.get("/health").json()["engine"]["precision"]
    chosen = re.search(r"auto chose (\w+): (\d+) pictures/s in int8, (\d+) pictures/s in bf16", "".join(server.log))
    int8 = has_fast_int8() and Export.read(Checkpoint.load(SHIPPED), "openvino-int8").accepted
    if int8 and has_amx():
        assert chosen is not None
        faster = "bf16" if int(chosen[3]) > MARGIN * int(chosen[2]) else "int8"
        assert (chosen[1], precision) == (faster, faster)
    else:
        assert chosen is None
        assert precision == ("int8" if int8 else best_precision().replace("f32", "fp32"))


def test_bf16_that_was_not_accepted_is_not_chosen(copy: Path) -> None:
    path = graph_file(copy, "openvino").with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "accepted": False}))
    with run_server(GOOGLENET_CHECKPOINT=str(copy), GOOGLENET_DEVICE="cpu") as server, server.client() as client:
        assert client.get("/health").json()["engine"]["name"] == ("openvino-int8" if has_fast_int8() else "openvino")
    assert "auto chose" not in "".join(server.log)


def test_int8_that_was_not_accepted_serves_only_when_asked_for(copy: Path) -> None:
    path = graph_file(copy, "openvino-int8").with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "accepted": False}))
    for asked, served in (("auto", "openvino"), ("openvino-int8", "openvino-int8")):
        environment = {"GOOGLENET_CHECKPOINT": str(copy), "GOOGLENET_ENGINE": asked, "GOOGLENET_DEVICE": "cpu"}
        with run_server(**environment) as server, server.client() as client:
            assert client.get("/health").json()["engine"]["name"] == served


def refusal(checkpoint: Path, engine: str) -> str:
    result = failed_start(GOOGLENET_CHECKPOINT=str(checkpoint), GOOGLENET_ENGINE=engine)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_damaged_export_is_refused(copy: Path, graph: str) -> None:
    path = graph_file(copy, graph).with_suffix(".bin")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "are damaged" in refusal(copy, graph)
    path.unlink()
    assert "is missing" in refusal(copy, graph)


@pytest.mark.parametrize("graph", GRAPHS)
def test_an_export_of_another_checkpoint_is_refused(copy: Path, graph: str) -> None:
    path = graph_file(copy, graph).with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "checkpoint": "0" * 64}))
    assert "was made from another checkpoint" in refusal(copy, graph)


@pytest.mark.parametrize("graph", GRAPHS)
def test_an_export_with_wrong_answers_is_refused(copy: Path, graph: str) -> None:
    path = graph_file(copy, graph).with_suffix(".json")
    description = json.loads(path.read_text())
    for known in description["precisions"].values():
        known["golden"] = known["golden"][1:] + known["golden"][:1]
    path.write_text(json.dumps(description))
    assert "would answer wrongly" in refusal(copy, graph)
    if graph == "openvino-int8":  # nobody asked for it
        with run_server(GOOGLENET_CHECKPOINT=str(copy), GOOGLENET_DEVICE="cpu") as server, server.client() as client:
            assert client.get("/health").json()["engine"]["name"] == "openvino"


def test_a_checkpoint_without_an_export_serves_all_the_same(copy: Path, boot: bytes) -> None:
    for graph in GRAPHS:
        for path in files(copy, graph):
            path.unlink()
    with run_server(GOOGLENET_CHECKPOINT=str(copy), GOOGLENET_DEVICE="cpu") as server, server.client() as client:
        assert client.get("/health").json()["engine"]["name"] == "torch"
        assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"
        assert any("python -m model.export" in line for line in server.log)


def run_export(*arguments: object) -> str:
    command = [sys.executable, "-m", "model.export", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def own(tmp_path: Path, checkpoint: Checkpoint, pictures: list[tuple[str, bytes]]) -> tuple[Path, Path]:
    """A checkpoint and the folder of pictures that it knows: the shipped network and the hundred pictures."""
    names = tuple(f"{i} {name.replace('/', ' ')}" for i, name in enumerate(checkpoint.metadata.classes))
    for name in names:
        (tmp_path / "pictures" / name).mkdir(parents=True)
    for i, (label, content) in enumerate(pictures):
        folder = tmp_path / "pictures" / names[checkpoint.metadata.classes.index(label)]
        (folder / f"{i}.png").write_bytes(content)
    training = {"data": data.load(tmp_path / "pictures").checksums}
    metadata = dataclasses.replace(checkpoint.metadata, classes=names, training=training)
    path = tmp_path / "mine" / "googlenet.safetensors"
    dataclasses.replace(checkpoint, metadata=metadata).save(path)
    return path, tmp_path / "pictures"


def test_pictures_of_ones_own_are_exported_twice_the_same(own: tuple[Path, Path]) -> None:
    path, pictures = own
    exports = []
    for _ in range(2):
        files(path, "openvino")[-1].unlink(missing_ok=True)  # else everything stays as it is
        run_export("--checkpoint", path, "--data", pictures)
        exports.append([Export.load(Checkpoint.load(path), graph) for graph in GRAPHS])
    assert exports[0] == exports[1]
    assert {p.name for p in path.parent.iterdir()} == {
        path.name,
        *(p.name for graph in GRAPHS for p in files(path, graph)),
    }


def test_int8_may_lose_one_picture(own: tuple[Path, Path]) -> None:
    """Of few validation pictures, one is more than MAX_ACCURACY_LOSS."""
    path, pictures = own
    run_export("--checkpoint", path, "--data", pictures)
    checkpoint, dataset = Checkpoint.load(path), data.load(pictures)
    before = Export.load(checkpoint, "openvino-int8")
    reference = Export.load(checkpoint, "openvino").precisions["f32"].accuracy
    assert reference is not None
    for lost, accepted in ((1, True), (2, False)):
        accuracy = round(reference - lost / len(dataset.validation), 6)
        known = {"f32": dataclasses.replace(before.precisions["f32"], accuracy=accuracy)}
        changed = dataclasses.replace(before, precisions=known)
        files(path, "openvino-int8")[-1].write_text(json.dumps(dataclasses.asdict(changed)))
        assert export(checkpoint, dataset)["openvino-int8"].accepted == accepted
        assert export(checkpoint, None)["openvino-int8"].accepted == accepted  # as it was


def test_other_pictures_than_it_was_trained_on_are_noticed(own: tuple[Path, Path]) -> None:
    path, pictures = own

    def run(command: str) -> "subprocess.CompletedProcess[str]":
        arguments = ["--checkpoint", str(path), "--data", str(pictures)]
        return subprocess.run([sys.executable, "-m", command, *arguments], capture_output=True, text=True, timeout=600)

    assert run("model.evaluate").stderr == ""
    next(pictures.glob("*/*.png")).unlink()
    evaluated = run("model.evaluate")
    assert evaluated.returncode == 0
    assert re.fullmatch(r"warning: .* was trained on other data .*\n", evaluated.stderr)
    assert "test accuracy" in evaluated.stdout
    exported = run("model.export")
    assert (exported.returncode, exported.stdout) == (1, "")
    assert re.fullmatch(r".* was trained on other data: name its own by --data\n", exported.stderr)
    assert list(path.parent.iterdir()) == [path]


def test_what_another_cpu_found_stays_while_nothing_it_came_from_changes(own: tuple[Path, Path]) -> None:
    def exported(**changes: Any) -> Export:
        dataclasses.replace(Checkpoint.load(path), **changes).save(path)
        return export(Checkpoint.load(path), None)["openvino"]

    def graph() -> list[bytes]:
        return [file.read_bytes() for file in files(path, "openvino")[:2]]

    path, _ = own
    first, built, description = exported(), graph(), files(path, "openvino")[-1]
    another = dataclasses.replace(first.precisions["f32"], temperature=2.0)
    first = dataclasses.replace(first, precisions=first.precisions | {"of another CPU": another})
    description.write_text(json.dumps(dataclasses.asdict(first)))

    stored = Checkpoint.load(path)
    told = dataclasses.replace(stored.metadata, accuracy={"validation": 0.5}, training={"seed": 1})
    kept = exported(metadata=told)
    assert kept == dataclasses.replace(first, checkpoint=Checkpoint.load(path).version)
    assert kept.checkpoint != stored.version
    assert graph() == built

    bias = "head.bias"
    weights = stored.weights | {bias: stored.weights[bias] + np.float16(1)}
    golden = dataclasses.replace(stored.golden, pixels=255 - stored.golden.pixels)
    warmer = dataclasses.replace(told, temperature=1.5)
    for change in ({"weights": weights}, {"golden": golden}, {"detector": None}, {"metadata": warmer}):
        dataclasses.replace(stored, metadata=told).save(path)
        description.write_text(json.dumps(dataclasses.asdict(first)))
        assert "of another CPU" not in exported(**change).precisions, change.keys()

    dataclasses.replace(stored, metadata=told).save(path)
    description.write_text(json.dumps(dataclasses.asdict(first)))
    files(path, "openvino")[1].write_bytes(b"")
    assert "of another CPU" not in exported().precisions
    assert graph()[1] == built[1]


def test_without_its_data_there_is_no_int8(copy: Path, own: tuple[Path, Path]) -> None:
    for path in files(copy, "openvino-int8"):
        shutil.copy(path, own[0].parent)  # of an earlier export
    said = run_export("--checkpoint", own[0])
    assert "no int8: name the pictures" in said
    export = Export.load(Checkpoint.load(own[0]), "openvino")
    assert all(known.accuracy is None for known in export.precisions.values())
    assert not any(path.exists() for path in files(own[0], "openvino-int8"))
    difference = np.array(export.precisions["f32"].golden) - Checkpoint.load(own[0]).golden.probabilities
    assert np.abs(difference).max() < 1e-3
