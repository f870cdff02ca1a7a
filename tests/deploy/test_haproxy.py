"""HAProxy takes the configuration that is shipped, and loses nothing when a replica behind it is stopped."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from conftest import Server, run_server
from support.documents import examples
from support.load import CLIENTS, Load

from benchmarks.harness.processes import free_port

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy" / "haproxy.cfg"
PATIENCE = 60.0


@pytest.fixture
def haproxy(needs: Callable[[bool, str], None]) -> str:
    path = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    needs(path is not None, "haproxy")
    assert path is not None
    return path


def addresses(bind: int, *replicas: str) -> dict[str, str]:
    behind = {f"REPLICA_{i}": replica.removeprefix("http://") for i, replica in enumerate(replicas, 1)}
    return os.environ | behind | {"BIND": f"127.0.0.1:{bind}"}


@contextmanager
def in_front_of(haproxy: str, *replicas: Server) -> Iterator[Server]:
    """HAProxy before them, when it knows that all are ready."""
    port = free_port()
    environment = addresses(port, *(replica.url for replica in replicas))
    process = subprocess.Popen([haproxy, "-f", str(CONFIGURATION)], env=environment, stderr=subprocess.PIPE, text=True)
    front = Server(f"http://127.0.0.1:{port}", process, [])
    try:
        until = time.monotonic() + PATIENCE
        while not answers(front):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        yield front
    finally:
        process.kill()
        process.communicate()


def answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/health").status_code == 200
    except httpx.HTTPError:
        return False


def test_the_configuration_is_valid(haproxy: str) -> None:
    command = [haproxy, "-c", "-f", str(CONFIGURATION)]
    checked = subprocess.run(command, env=addresses(80, "127.0.0.1:1", "127.0.0.1:2"), capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_replica_that_goes_under_load_loses_little(haproxy: str, number: int, boot: bytes) -> None:
    """Nothing if it is asked to go; if it is killed, at most what it held."""
    with run_server() as stays, doomed() as goes, in_front_of(haproxy, stays, goes) as front, Load(front, boot) as load:
        goes.process.send_signal(number)
        goes.process.wait(PATIENCE)
        answered, until = load.seen[200], time.monotonic() + PATIENCE
        while load.seen[200] < answered + 200:
            assert time.monotonic() < until
            time.sleep(0.02)
        seen = dict(load.seen)
        front.process.kill()  # which ends the load
    lost = sum(n for what, n in seen.items() if what != 200)
    assert lost <= (0 if number == signal.SIGTERM else CLIENTS), seen


@contextmanager
def doomed() -> Iterator[Server]:
    """A service that may end badly."""
    running = run_server()
    yield running.__enter__()
    with suppress(AssertionError):
        running.__exit__(None, None, None)


def test_figures_are_no_business_of_the_world(haproxy: str, server: Server) -> None:
    with in_front_of(haproxy, server, server) as front:
        assert httpx.get(f"{front.url}/metrics").status_code == 403
        assert httpx.get(f"{server.url}/metrics").status_code == 200


@pytest.mark.parametrize("leaves", [False, True])
def test_behind_a_path_prefix(haproxy: str, boot: bytes, tmp_path: Path, leaves: bool) -> None:
    """As the documents have it, the prefix taken off by HAProxy or left."""
    port, file = free_port(), tmp_path / "haproxy.cfg"
    (example,) = examples("docs/deployment.md", "haproxy")
    code = "".join(line for line in example.code.splitlines(True) if not (leaves and "replace-path" in line))
    with run_server(GOOGLENET_ROOT_PATH="/ml") as server:
        code = code.replace(":8080", f"127.0.0.1:{port}").replace("127.0.0.1:8000", server.url.removeprefix("http://"))
        file.write_text(
            f"defaults\n    mode http\n    timeout connect 2s\n    timeout client 30s\n    timeout server 35s\n{code}"
        )
        process = subprocess.Popen([haproxy, "-f", str(file)], stderr=subprocess.PIPE, text=True)
        try:
            front, until = f"http://127.0.0.1:{port}/ml", time.monotonic() + PATIENCE
            while not answers(Server(front, process, [])):
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            with httpx.Client(base_url=front, timeout=PATIENCE) as client:
                seen_through_a_prefix(client, boot)
        finally:
            process.kill()
            process.communicate()


def seen_through_a_prefix(client: httpx.Client, boot: bytes) -> None:
    for path in ("/predict", "/predict/"):
        assert client.post(path, files={"file": boot}).json()["label"] == "Ankle boot"
    page = httpx.get(str(client.base_url).removesuffix("/"), follow_redirects=True)
    assert page.url.path == "/ml/"
    for link in re.findall(r'(?:href|src)="([^"#]+)"', page.text):
        assert httpx.get(page.url.join(link)).status_code == 200, link
    docs = client.get("/docs")
    links = re.findall(r"""(?:href|src|url)(?:=|: )["'](/[^"']+)""", docs.text)
    assert "/ml/openapi.json" in links
    for link in links:
        assert httpx.get(docs.url.join(link)).status_code == 200, link
    document = client.get("/openapi.json").json()
    assert document["servers"] == [{"url": "/ml"}]
    assert "POST /ml/predict," in client.get("/ping").json()["detail"]
