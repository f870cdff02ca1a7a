"""The examples in docs/client.md and docs/cli.md run as they are written, but for the server's address."""

import re
from pathlib import Path

from conftest import Server
from support.documents import ROOT, at, examples, install, run_python, run_shell


def code(name: str, language: str) -> list[str]:
    return [example.code for example in examples(name, language)]


def test_the_client(server: Server) -> None:
    printed = run_python([at(server.url, part) for part in code("docs/client.md", "python")])
    assert printed[0].startswith("Ankle boot 0.")
    assert "coats; the data is none of PNG" in printed[2]


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    printed = run_shell(code("docs/cli.md", "sh"), tmp_path, **install(tmp_path / "bin"))
    right = re.fullmatch(r"(\d+) of 100 right", printed[1])
    assert right is not None
    assert int(right[1]) >= 85
    assert "largest batch in use" in printed[2]
