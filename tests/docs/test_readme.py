"""The README's commands and figure are right; docs/layout.md and other pages name files, tests and rooms that exist."""

import re
import subprocess
from pathlib import Path

import pytest
from test_architecture import ROOMS, SERVING

from model.checkpoint import Checkpoint

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LAYOUT = (ROOT / "docs" / "layout.md").read_text()

NAMED = re.compile(r"`((?:app|benchmarks|deploy|docs|model|tests)/[\w./-]*)(?:::(\w+))?`")
"""A path in a page's text, perhaps with a test in that file."""

LONGEST_WAY = 10
"""Files from the connection to the engine."""


def rooms_in_order() -> list[str]:
    """The paths of the page's tree."""
    (tree,) = re.findall(r"^```\n(.*?)```", LAYOUT, re.DOTALL | re.MULTILINE)
    return [line.split()[0] for line in tree.splitlines() if line]


@pytest.mark.parametrize("page", ["docs/layout.md", "docs/design.md", "CONTRIBUTING.md"])
def test_every_file_and_test_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = NAMED.findall(text)
    assert named
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_every_room_has_its_line_above_the_rooms_that_it_imports() -> None:
    listed = rooms_in_order()
    assert all((ROOT / path).exists() for path in listed), listed
    for package in ("app", "model"):
        modules = [f"{package}/{path.name}" for path in (ROOT / package).glob("*.py") if path.name != "__init__.py"]
        folders = [f"{path.parent.relative_to(ROOT)}/" for path in (ROOT / package).rglob("__init__.py")]
        assert set(modules + folders) - {f"{package}/"} <= set(listed)
    position = {path.removesuffix("/").removesuffix(".py").replace("/", "."): at for at, path in enumerate(listed)}
    for room, allowed in ROOMS.items():
        below = (allowed - {"model"}) | (SERVING if "model" in allowed else set())
        assert all(position[room] < position[other] for other in below), room


def test_the_way_of_a_request_is_short_and_numbered() -> None:
    steps = re.findall(r"^\| (\d+) \| `(\S+)` \|", LAYOUT, re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    assert 5 < len(steps) <= LONGEST_WAY


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/design.md"])
def test_the_make_targets_exist(page: str) -> None:
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True).stdout
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert named
    for target in named:
        assert f"make {target} " in listed, target


def test_the_quick_tests_exist_and_every_folder_has_some() -> None:
    lines = [line for line in (ROOT / "tests" / "quick.txt").read_text().splitlines() if line and line[0] != "#"]
    for line in lines:
        path, _, test = line.partition("[")[0].partition("::")
        assert not test or f"def {test}(" in (ROOT / path).read_text(), line
    folders = {path.parent for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders <= {(ROOT / line.partition("::")[0]).parent for line in lines}


def test_its_figure_is_the_checkpoints(checkpoint: Checkpoint) -> None:
    assert f"**{100 * checkpoint.metadata.accuracy['test']:.2f} %**" in README
