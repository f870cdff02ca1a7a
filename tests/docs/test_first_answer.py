"""A new user with nothing but the README: the page, curl, Python, the command line, tritonclient, as it has them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Server, run_server
from playwright.sync_api import Browser, expect
from support.browsing import BOOT, choose, opened
from support.documents import ROOT, at, examples, run_python, run_shell

from model.train.__main__ import parse_arguments

README = (ROOT / "README.md").read_text()
UP_TO_DATE = ("--assume-old=pyproject.toml", "--assume-old=constraints.txt", f"VENV={sys.prefix}")
"""For make: the environment that the tests run in is the one to use, as it is."""

RUN = {
    "README.md": {"sh", "json"},
    "docs/api.md": {"sh", "python", "js", "js node", "js browser"},
    "docs/cli.md": {"sh"},
    "docs/deployment.md": {"haproxy"},
    "docs/client.md": {"python"},
    "docs/grpc.md": {"python"},
    "docs/inference-v1.md": {"sh", "python"},
    "docs/inference-v2.md": {"sh", "python"},
    "docs/onnx.md": {"python", "pbtxt", "json"},
    "docs/tracing.md": {"sh serve", "sh ask"},
    "docs/training.md": {"sh", "sh serve", "sh ask", "python"},
}
"""What is run as it is written, by the languages of its examples."""

NOT_RUN = {
    ("README.md", "Docker"): "needs a docker that may build",
    ("docs/deployment.md", "Images"): "the same; make image-check builds both images and runs them",
    ("docs/deployment.md", "Monitoring"): "the same; test_prometheus.py runs what is mounted there",
    ("docs/grpc.md", "Start"): "installs the package; every test in tests/grpc starts a server with the setting",
    ("docs/tracing.md", "A collector"): "needs a docker that may pull; test_tracing_page.py has a collector of its own",
    ("docs/scaling.md", "Choosing a deployment"): "needs several machines; make ray-check runs it on a local cluster",
}
"""By document and section, and why."""


def shell(section: str) -> list[str]:
    return [e.code for e in examples("README.md", "sh") if e.section == section]


def inline(pattern: str) -> str:
    """The one piece of code in a line that matches."""
    (found,) = re.findall(rf"`({pattern})`", README)
    return str(found)


def activate() -> str:
    return inline(r"\. \.venv[^`]+")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a clone looks after `make serve`."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    return tmp_path


def test_make_serve_and_curl(folder: Path) -> None:
    (both,), (ask,) = shell("Two commands"), shell("A first answer")
    first, second = (shlex.split(line, comments=True) for line in both.splitlines())
    assert second == ["make", "test"]  # that is what runs here
    with run_server(first[0], *UP_TO_DATE, *first[1:], cwd=ROOT) as server:
        (answer,) = run_shell([at(server.url, ask)], folder)
    (shown,) = (json.loads(example.code) for example in examples("README.md", "json"))
    told = json.loads(answer)
    assert told.keys() == shown.keys()
    assert told["probabilities"].keys() == shown["probabilities"].keys()
    assert told["probabilities"] == pytest.approx(shown["probabilities"], abs=0.05)
    for same in ("label", "class_id", "out_of_distribution", "preprocessing"):
        assert told[same] == shown[same], same


def test_curl_with_the_picture_as_the_body(server: Server, folder: Path) -> None:
    command = at(server.url, inline("curl --data-binary [^`]+"))
    assert json.loads(run_shell([command], folder)[0])["label"] == "Bag"


def test_the_page(browser: Browser, server: Server) -> None:
    (address,) = re.findall(r"\| a browser \| <(\S+)>", README)
    with opened(browser, at(server.url, address)) as page:
        (card,) = choose(page, BOOT)
        expect(card.get_by_role("heading")).to_contain_text("Ankle boot")


def test_python(server: Server, folder: Path) -> None:
    line = at(server.url, inline("from app.client [^`]+"))
    assert run_shell([activate(), f"python -c '{line}'"], folder) == ["", "Bag"]


def test_the_command_line(folder: Path) -> None:
    _, table = run_shell([activate(), inline("fashion-googlenet classify [^`]+")], folder)
    assert table.count("ankle-boot-") == 10


def test_tritonclient(server: Server) -> None:
    (document,) = re.findall(r"^\| Triton's and KServe's clients .*\]\((\S+)\)", README, re.MULTILINE)
    (recipe,) = (example.code for example in examples(document, "python"))
    assert "Ankle boot" in run_python([at(server.url, recipe)])[0]


def test_the_training_commands_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take hours, all but one; docs/training.md runs as it is, in test_training_page.py."""
    (lines,) = shell("Training")
    for line in lines.splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["make", "train"]:
            said = subprocess.run(
                ["make", "-n", "--no-print-directory", *UP_TO_DATE, *words[1:]],
                cwd=ROOT,
                capture_output=True,
                text=True,
                env=os.environ | {"ARGS": "", "MAKEFLAGS": ""},  # nothing of a `make test ARGS=...` around this test
            )
            _, _, arguments = said.stdout.strip().splitlines()[-1].partition(" -m model.train ")
            monkeypatch.setattr(sys, "argv", ["model.train", *shlex.split(arguments)])
            assert parse_arguments().resume


def test_no_example_goes_untried() -> None:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        name = str(path.relative_to(ROOT))
        for example in examples(name):
            if (name, example.section) not in NOT_RUN:
                assert example.language in RUN.get(name, ()), (name, example.section, example.language)
