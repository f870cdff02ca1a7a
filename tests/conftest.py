"""A real server as a fixture, real pictures, and an honest list of what could not be run.

A test that needs a package of the distribution, or a tool, asks for it by a fixture; where it is missing
the test is skipped and named at the end with the line that installs it. With
FASHION_GOOGLENET_SKIP_NOTHING set, as in CI, it fails instead.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from model import data
from model.checkpoint import SHIPPED, Checkpoint, Golden
from model.export.manifest import Export

PICTURES = Path(__file__).parent / "pictures"
BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
START_LIMIT = 120.0
STOP_LIMIT = 60.0

_missing: set[str] = set()


@dataclass
class Server:
    """A running `python -m app`: where it listens, and its process."""

    url: str
    process: "subprocess.Popen[str]"
    log: list[str]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)


@contextmanager
def run_server(*command: str, cwd: Path | None = None, **environment: str) -> Iterator[Server]:
    """Starts the service on a free port with these settings; ends it and sees that it ends well.

    The command, if it is another than `python -m app`, must become the server, or pass on signals.
    """
    process = subprocess.Popen(
        command or [sys.executable, "-m", "app"],
        cwd=cwd,
        env=_clean_environment() | {"GOOGLENET_PORT": "0"} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    log: list[str] = []
    watchdog = threading.Timer(START_LIMIT, process.kill)
    watchdog.start()
    assert process.stderr is not None
    url = None
    for line in process.stderr:
        log.append(line)
        if found := re.search(r'(?:running on|Listening at:) (http:[^\s"]+)', line):
            url = found[1]
            break
    watchdog.cancel()
    if url is None:
        process.wait()
        pytest.fail("the server did not start:\n" + "".join(log))
    reader = threading.Thread(target=log.extend, args=(process.stderr,))
    reader.start()
    try:
        yield Server(url, process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            reader.join()
            process.stderr.close()
    assert process.returncode in (0, -signal.SIGTERM), "".join(log)


def failed_start(**environment: str) -> "subprocess.CompletedProcess[str]":
    """What `python -m app` says and returns when it cannot start."""
    return subprocess.run(
        [sys.executable, "-m", "app"],
        env=_clean_environment() | {"GOOGLENET_PORT": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=START_LIMIT,
    )


def _clean_environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GOOGLENET_")}
    return environment | {"PYTHONPATH": str(Path(__file__).parent)}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The service as shipped."""
    with run_server() as running:
        yield running


@pytest.fixture(scope="module")
def bounded() -> Iterator[Server]:
    """A server of the module's own, whose CPU time and memory are measured."""
    with run_server() as server:
        yield server


@pytest.fixture
def bounded_client(bounded: Server, boot: bytes) -> Iterator[httpx.Client]:
    """What a test asks by it takes no more CPU time and memory than one request may."""
    from support.bounds import within_bounds  # imports this module

    with bounded.client() as client, within_bounds(bounded, client, boot):
        yield client


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return Checkpoint.load(SHIPPED)


@pytest.fixture(scope="session")
def golden(server: Server, checkpoint: Checkpoint) -> Golden:
    """The golden pictures, and what the engine that serves must make of them: int8 has answers of its own."""
    with server.client() as client:
        engine = client.get("/health").json()["engine"]
    known = Export.load(checkpoint, engine["name"]).precisions["bf16" if engine["precision"] == "bf16" else "f32"]
    return Golden(checkpoint.golden.pixels, np.array(known.golden, np.float32))


@pytest.fixture(scope="session")
def pictures() -> list[tuple[str, bytes]]:
    """(class name, PNG bytes) of the hundred committed pictures."""
    names = {
        name.lower().replace("/", "-").replace(" ", "-"): name for name in Checkpoint.load(SHIPPED).metadata.classes
    }
    return [(names[path.stem.rpartition("-")[0]], path.read_bytes()) for path in sorted(PICTURES.glob("*.png"))]


@pytest.fixture(scope="session")
def boot() -> bytes:
    return (PICTURES / "ankle-boot-0000.png").read_bytes()


@pytest.fixture(scope="session")
def needs() -> Callable[..., None]:
    """needs(present, package): skips, or fails in CI, where a package of the distribution is missing.

    Or where something else is, which `by` names the command for.
    """

    def check(present: bool, package: str, by: str = "") -> None:
        if present:
            return
        if os.environ.get("FASHION_GOOGLENET_SKIP_NOTHING"):
            pytest.fail(f"needs {package}, and nothing may be skipped here")
        _missing.add(by or f"apt-get install {package}")
        pytest.skip(f"needs {package}")

    return check


@pytest.fixture(scope="session")
def fashion_mnist(needs: Callable[..., None]) -> data.Dataset:
    needs(data.DEBIAN.is_dir(), "dataset-fashion-mnist")
    return data.load(data.DEBIAN)


@pytest.fixture(scope="session")
def chromium(needs: Callable[..., None]) -> str:
    path = shutil.which("chromium")
    needs(path is not None, "chromium")
    assert path is not None
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """The distribution's Chromium, headless; one a module, because while it runs asyncio.run cannot."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_FLAGS)
        yield browser
        browser.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _missing:
        terminalreporter.section("not run")
        terminalreporter.line(f"to run everything: {'; '.join(sorted(_missing))}")
