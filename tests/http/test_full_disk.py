"""Where nothing can be written the service serves all the same."""

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import START_LIMIT, STOP_LIMIT, _clean_environment, run_server

READ_ONLY = """
set -e
mount --make-rprivate /
cut -d ' ' -f 2 /proc/self/mounts | grep -v ^/proc | while read -r folder; do
    mount -o remount,bind,ro "$folder" 2>/dev/null || true
done
[ -z "$SMALL" ] || mount -t tmpfs -o size=64k none "$SMALL"
for folder in / /tmp /var/tmp /dev/shm "$HOME" "$PWD"; do
    ! touch "$folder/trial" 2>/dev/null || exit 9
done
exec "$@"
"""
"""Executes what it is given where every file system is read-only, but for one of 64 kB."""


@pytest.fixture
def own_mounts(needs: Callable[..., None]) -> list[str]:
    """A command that gives another its own view of the file systems."""
    ways = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])
    for way in ways:
        if subprocess.run([*way, "mount", "--make-rprivate", "/"], capture_output=True).returncode == 0:
            return way
    needs(False, "file systems of its own", "docker run --privileged …")
    raise AssertionError


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("disk", ["read-only", "full"])
def test_it_serves_where_file_systems_are_read_only_or_full(
    own_mounts: list[str], boot: bytes, tmp_path: Path, disk: str, workers: str
) -> None:
    small = {"SMALL": str(tmp_path), "TMPDIR": str(tmp_path)} if disk == "full" else {"SMALL": ""}
    command = [*own_mounts, "sh", "-c", READ_ONLY, "sh", sys.executable, "-m", "app"]
    with (
        run_server(*command, GOOGLENET_WORKERS=workers, **small) as server,
        server.client() as client,
    ):
        for _ in range(5):
            assert client.post("/predict", files={"file": boot}).json()["label"] == "Ankle boot"
        assert "googlenet_predictions_total" in client.get("/metrics").text
        assert client.get("/health").status_code == 200
        assert any("no room for the workers' metrics" in line for line in server.log) == (workers == "2")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("workers", "room"), [("1", 0), ("2", 0), ("2", 4096)])
def test_it_serves_where_nothing_can_be_written(boot: bytes, workers: str, room: int) -> None:
    """No file may grow, or to no more than a page, as on a full disk: a limit that the server inherits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
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
