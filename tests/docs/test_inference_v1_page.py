"""The examples in docs/inference-v1.md run as they are written, but for the server's address."""

import json
import re
from pathlib import Path

from conftest import Server
from support.documents import ROOT, at, examples, run_python, run_shell

PAGE = "docs/inference-v1.md"


def test_with_curl(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    (printed,) = run_shell([at(server.url, example.code) for example in examples(PAGE, "sh")], tmp_path)
    assert json.loads(printed)["predictions"][0]["label"] == "Ankle boot"


def test_in_python(server: Server) -> None:
    (printed,) = run_python([at(server.url, example.code) for example in examples(PAGE, "python")])
    assert re.fullmatch(r"Ankle boot 0\.\d+\nBag 0\.\d+", printed)
