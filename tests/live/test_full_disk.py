"""Where nothing can be written the service serves all the same."""

import contextlib
import resource
import subprocess
import sys
import time

import httpx
import pytest
from conftest import START_LIMIT, STOP_LIMIT, _clean_environment, run_server


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_serves_where_nothing_can_be_written(boot: bytes, workers: str) -> None:
    """No file may grow, as on a full disk: a limit that the server inherits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        running = run_server(GOOGLENET_WORKERS=workers)
        server = running.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with contextlib.ExitStack() as stack:
        stack.push(running)
        client = stack.enter_context(server.client())
        for _ in range(5):
            assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"
        assert "googlenet_predictions_total" in client.get("/metrics").text
        assert client.get("/health").status_code == 200
        warned = any("no room for the workers' metrics" in line for line in server.log)
        assert warned == (workers == "2")


def test_it_serves_when_its_log_cannot_be_written(boot: bytes) -> None:
    port = "18437"
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"], env=_clean_environment() | {"GOOGLENET_PORT": port}, stderr=full
        )
    try:
        until = time.monotonic() + START_LIMIT
        while True:
            try:
                response = httpx.post(f"http://127.0.0.1:{port}/predict", files={"file": boot}, timeout=60)
                break
            except httpx.ConnectError:
                assert process.poll() is None
                assert time.monotonic() < until
        assert response.status_code == 200
    finally:
        process.terminate()
        process.wait(STOP_LIMIT)
