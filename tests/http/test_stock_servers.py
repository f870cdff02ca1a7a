"""The application under other servers than `python -m app`: the same answers, and one line on what is missing."""

import sys
from pathlib import Path

import httpx
import pytest
from conftest import Server, run_server

ROOT = Path(__file__).parents[2]

COMMANDS = {
    "uvicorn": ("uvicorn", "app.main:app", "--port", "0"),
    "gunicorn": ("gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:0", "app.main:app"),
    "fastapi": ("fastapi", "run", "app/main.py", "--host", "127.0.0.1", "--port", "0"),
}

TO_STDERR = ("sh", "-c", 'exec "$@" 1>&2', "sh", sys.executable, "-m")

WARNING = "served by another server than `python -m app`: slow clients, early rejection and draining are not handled"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stock_server_answers_alike_and_warns_once(name: str, client: httpx.Client, boot: bytes) -> None:
    expected = client.post("/predict", files={"file": boot}).json()
    with run_server(*TO_STDERR, *COMMANDS[name], cwd=ROOT, COLUMNS="200") as server, server.client() as other:
        answer = other.post("/predict", files={"file": boot}).json()
        assert answer["label"] == expected["label"] == "Ankle boot"
        assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-3)
        assert other.post("/predict", files={"file": b"no picture"}).json()["code"] == "unsupported-format"
        assert other.get("/health").json()["status"] == "ready"
    assert sum(WARNING in line for line in server.log) == 1


def test_python_m_app_does_not_warn(server: Server) -> None:
    assert not any(WARNING in line for line in server.log)
