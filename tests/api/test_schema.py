"""The service does what /openapi.json says, and refuses what it does not say, in all that schemathesis thinks of."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Server
from schema import command

ROOT = Path(__file__).parents[2]
TOOL = Path(".venv-fuzz/bin/schemathesis")


@pytest.fixture
def schemathesis(needs: Callable[..., None]) -> Path:
    needs((ROOT / TOOL).exists(), "schemathesis", "make .venv-fuzz/.tools")
    return ROOT / TOOL


def test_schemathesis_finds_nothing(server: Server, schemathesis: Path, tmp_path: Path) -> None:
    """A short run, different each time; the long one is make fuzz."""
    run = command(schemathesis, server.url, "--max-examples", "20", "--no-color", "--continue-on-failure")
    result = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Tested: 48" in result.stdout
    assert "Traceback" not in "".join(server.log)
