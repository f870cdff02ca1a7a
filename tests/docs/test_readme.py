"""The README says what is so, its commands and its figure, and docs/layout.md the file tree."""

import re
import subprocess
from pathlib import Path

from model.checkpoint import Checkpoint

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_file_tree_is_the_file_tree() -> None:
    (tree,) = re.findall(r"^```\n(.*?)```", (ROOT / "docs" / "layout.md").read_text(), re.DOTALL | re.MULTILINE)
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
