"""Training through its front door, on a tiny folder of pictures: it learns, stops, resumes and ships."""

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import run_server
from PIL import Image
from safetensors.numpy import load_file
from support.training import two_classes

from model.checkpoint import Checkpoint
from model.preprocess import native
from model.train.recipes import RECIPES

QUICK = ("--recipe", "quick", "--set", "batch_size=8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("tree"))


def command(tree: Path, out: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "model.train", *QUICK, "--data", str(tree), "--out", str(out), *arguments]


def train(tree: Path, out: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(tree, out, *arguments), capture_output=True, text=True, timeout=600)


def interrupt(process: "subprocess.Popen[str]", sign: signal.Signals, epoch: int) -> None:
    """Sends the signal once the progress bar shows that this epoch has begun."""
    assert process.stderr is not None
    seen = ""
    while f"epoch {epoch}/" not in seen:
        character = process.stderr.read(1)
        assert character, "training ended before it could be interrupted:\n" + seen
        seen += character
    process.send_signal(sign)
    drain = threading.Thread(target=process.stderr.read)
    drain.start()
    process.wait(300)
    drain.join()


PHASES = ("--set", "phases=[[32,2],[48,2]]")


def test_it_learns_and_what_it_made_can_be_served(tree: Path, tmp_path: Path) -> None:
    result = train(tree, tmp_path, "--set", "phases=[[48,6]]", "--set", "learning_rate=0.02")
    assert result.returncode == 0, result.stderr
    checkpoint = Checkpoint.load(tmp_path / "googlenet.safetensors")
    assert checkpoint.metadata.classes == ("ankle-boot", "trouser")
    history = json.loads((tmp_path / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["accuracy"] > 0.85
    with Image.open(tmp_path / "curves.png") as curves:
        assert curves.width > 500
    with run_server(GOOGLENET_CHECKPOINT=str(tmp_path / "googlenet.safetensors")) as server, server.client() as client:
        picture = (tree / "trouser").iterdir().__next__().read_bytes()
        answer = client.post("/predict", files={"file": picture}).json()
    assert set(answer["probabilities"]) == {"ankle-boot", "trouser"}
    assert answer["out_of_distribution"] is None  # twelve validation pictures are too few to say
    assert checkpoint.detector is None
    assert checkpoint.metadata.temperature == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tree: Path, tmp_path: Path, sign: signal.Signals) -> None:
    assert train(tree, tmp_path / "whole", *PHASES).returncode == 0
    with subprocess.Popen(
        command(tree, tmp_path / "parts", *PHASES), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        interrupt(process, sign, epoch=3)
    assert process.returncode == (130 if sign == signal.SIGINT else -signal.SIGKILL)
    assert not (tmp_path / "parts" / "googlenet.safetensors").exists()
    resumed = train(tree, tmp_path / "parts", *PHASES, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    whole, parts = (load_file(tmp_path / run / "state.safetensors") for run in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not np.array_equal(whole[name], parts[name])] == []
    made = [Checkpoint.load(tmp_path / run / "googlenet.safetensors") for run in ("whole", "parts")]
    assert all(np.array_equal(made[0].weights[name], made[1].weights[name]) for name in made[0].weights)
    assert untimed(tmp_path / "whole") == untimed(tmp_path / "parts")


def untimed(run: Path) -> list[dict[str, float]]:
    history = json.loads((run / "history.json").read_text())
    return [{key: row[key] for key in row if key not in ("seconds", "pictures_per_second")} for row in history]


def test_between_a_network_and_what_became_of_it(tree: Path, tmp_path: Path) -> None:
    before, after, between = (tmp_path / name / "googlenet.safetensors" for name in ("before", "after", "between"))
    assert train(tree, before.parent, "--set", "phases=[[32,1]]").returncode == 0
    assert train(tree, after.parent, "--set", "phases=[[32,1]]", "--start-from", str(before)).returncode == 0
    assert interpolate(before, after, between, tree, "0.25").returncode == 0
    first, second, mixed = (Checkpoint.load(file) for file in (before, after, between))
    for name, weights in mixed.weights.items():
        expected = 0.75 * first.weights[name].astype(np.float32) + 0.25 * second.weights[name].astype(np.float32)
        assert np.allclose(weights, expected, rtol=1e-3, atol=1e-3)
    assert mixed.metadata.training["interpolated"]["before"]["version"] == first.version

    refused = interpolate(before, after, between, None, "0.25")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "other data" in refused.stderr
    assert "1.5 is not between 0 and 1" in interpolate(before, after, between, tree, "1.5").stderr
    assert Checkpoint.load(between).version == mixed.version


def interpolate(
    before: Path, after: Path, out: Path, tree: Path | None, share: str
) -> "subprocess.CompletedProcess[str]":
    data = ["--data", str(tree)] if tree else []
    command = [sys.executable, "-m", "model.train.interpolate", str(before), str(after), "--share", share]
    return subprocess.run([*command, "--out", str(out), *data], capture_output=True, text=True, timeout=600)


def test_what_an_ingredient_is_worth(tree: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "model.train.ablation", "--epochs", "1", "--only", "weight decay"]
    command += ["--data", str(tree), "--out", str(tmp_path)]
    first, again = (subprocess.run(command, capture_output=True, text=True, timeout=600) for _ in range(2))
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    table = r"\| changed \| validation accuracy \|\n\|---\|---\|\n\| no weight decay \| \d+\.\d\d % \|\n"
    assert re.fullmatch(table, again.stdout)
    assert re.fullmatch(f"epoch   1 .*\n{re.escape(again.stdout)}", first.stdout)
    assert [folder.name for folder in tmp_path.iterdir()] == ["no-weight-decay-0"]


def test_a_run_is_neither_overwritten_nor_resumed_as_another(tree: Path, tmp_path: Path) -> None:
    assert train(tree, tmp_path, "--set", "phases=[[32,1]]").returncode == 0
    again = train(tree, tmp_path, "--set", "phases=[[32,1]]")
    assert again.returncode == 1
    assert "--resume" in again.stderr
    other = train(tree, tmp_path, "--set", "phases=[[32,1]]", "--resume", "--seed", "5")
    assert other.returncode == 1
    assert "another seed" in other.stderr


@pytest.mark.parametrize("change", ["speed=1", "batch_size=lots", 'schedule="linear"', "phases=[]", "sketches=10"])
def test_a_wrong_recipe_is_one_clear_line(tree: Path, tmp_path: Path, change: str) -> None:
    result = train(tree, tmp_path, "--set", change)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert change in result.stderr


@pytest.mark.parametrize("changes", [["phases=[[32,4]]"], ["restarts=[[9,0.1],[9,0.2]]"], ["restarts=[[34,0.1]]"]])
def test_a_restart_that_never_comes_is_one_clear_error(changes: list[str]) -> None:
    """Without it the learning rate would end high: its cosine falls to zero at the restart."""
    with pytest.raises(ValueError, match=r"^--set .*: restarts must ascend and be below the \d+ epochs") as raised:
        RECIPES["default"].with_changes(changes)
    assert changes[0] in str(raised.value)
    recipe = RECIPES["default"].with_changes(["phases=[[32,4]]", "restarts=[]"])
    assert recipe.learning_rate_at(4) == pytest.approx(0, abs=1e-9)


def test_the_learning_rate_warms_up_falls_and_restarts() -> None:
    recipe = RECIPES["quick"].with_changes(["phases=[[48,4],[96,6]]", "restarts=[[6,0.03]]", "warmup_epochs=1"])
    rates = [recipe.learning_rate_at(epoch / 10) for epoch in range(101)]
    assert rates[5] < rates[10] <= 0.1
    assert rates[10:60] == sorted(rates[10:60], reverse=True)
    assert rates[60] == pytest.approx(0, abs=1e-9)
    assert rates[61] == pytest.approx(0.03, rel=0.01)
    assert rates[100] == pytest.approx(0, abs=1e-9)
    assert [epoch for epoch in range(10) if recipe.schedule_changes_at(epoch)] == [4, 6]


def test_no_batch_for_the_statistics_is_a_single_picture(tmp_path: Path) -> None:
    """Which has none at 28 px: the last layers see one pixel of it."""
    random = np.random.default_rng(0)
    for split, count in (("train", 251), ("val", 10), ("test", 10)):
        for i in range(count):
            path = tmp_path / "pictures" / split / f"class{i % 2}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (28, 28), np.uint8)).save(path)
    result = train(tmp_path / "pictures", tmp_path, "--set", "phases=[[28,1]]", "--set", "batch_size=125")
    assert result.returncode == 0, result.stderr


def test_training_pictures_are_preprocessed_as_the_service_does(tree: Path) -> None:
    from model import data

    dataset = data.load(tree)
    served = set()
    for path in tree.glob("*/*.png"):
        with Image.open(path) as file:
            served.add(native(file).tobytes())
    trained = {picture.numpy().tobytes() for picture in dataset.train.pixels}
    assert trained <= served
