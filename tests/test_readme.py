"""The README says what is so: its settings, its file tree, its commands, its figure."""

import os
import re
import subprocess
from pathlib import Path

from app.settings import Settings
from model.checkpoint import Checkpoint

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_setting_is_listed_as_it_is() -> None:
    for name, field in Settings.model_fields.items():
        default = os.path.relpath(field.default, ROOT) if name == "checkpoint" else field.default
        row = f"| `GOOGLENET_{name.upper()}` | {'' if default is None else default} | {field.description} |"
        assert row in README


def test_the_file_tree_is_the_file_tree() -> None:
    (tree,) = re.findall(r"## What is where\n\n```\n(.*?)```", README, re.DOTALL)
    folder = ROOT
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        folder = ROOT if not indent else folder
        assert (folder / name).exists(), line
        folder = ROOT / name if not indent else folder
    for package in ("app", "model"):
        for path in (ROOT / package).glob("*.py"):
            assert path.name == "__init__.py" or f"  {path.name} " in tree, path


def test_its_make_targets_exist() -> None:
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True).stdout
    for target in set(re.findall(r"^make (\w+)", README, re.MULTILINE)):
        assert f"make {target} " in listed


def test_its_figure_is_the_checkpoints(checkpoint: Checkpoint) -> None:
    assert f"**{100 * checkpoint.metadata.accuracy['test']:.2f} %**" in README
