"""The examples in docs/ run as they are written, but for the server's address."""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import Server

ROOT = Path(__file__).parent.parent.parent
ADDRESS = "http://127.0.0.1:8000"


def examples(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs" / name).read_text(), re.MULTILINE | re.DOTALL)


def test_the_client(server: Server) -> None:
    code = "\n".join(examples("client.md", "python")).replace(ADDRESS, server.url)
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Ankle boot 0.")
    assert "coats; the data is none of PNG" in result.stdout


def test_the_command_line(tmp_path: Path) -> None:
    command = tmp_path / "fashion-googlenet"  # as the installation makes it
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m app.cli "$@"\n')
    command.chmod(0o755)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = "set -e\n" + "\n".join(examples("cli.md", "sh"))
    result = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    right = re.search(r"^(\d+) of 100 right$", result.stdout, re.MULTILINE)
    assert right is not None
    assert int(right[1]) >= 85
    assert "largest batch in use" in result.stdout
