"""deploy.ray_serve on a Ray cluster of several nodes on this machine, by `serve run`: make ray-check.

Answers equal the single process's, replicas come with the load, and a killed node's replica comes back elsewhere. Needs
the extra `ray` and about 3 GB; a minute.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import ray
from ray import serve
from ray.cluster_utils import Cluster

from benchmarks.harness.bodies import PICTURES, pictures
from benchmarks.harness.processes import free_port, run_server

ROOT = Path(__file__).parent.parent
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
PATIENCE = 120.0
CLIENTS = 16


def main() -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(ROOT / "tests")  # nothing of ours: the working directory has to be enough
    expected = single_process()
    with cluster() as nodes, serve_run("max_replicas=2", "ongoing=4") as url, httpx.Client(timeout=60) as client:
        same_answers(client, url, expected)
        with Load(url) as load:
            wait_until(lambda: replicas() == 2, "the load brings a second replica")
            before = actors()
            nodes.add_node(**NODE)
            nodes.remove_node(sorted(nodes.worker_nodes, key=lambda node: node.node_id)[0], allow_graceful=False)
            wait_until(lambda: len(actors()) > len(before) and replicas() == 2, "a killed node's replica comes back")
        same_answers(client, url, expected)
        print(f"under load meanwhile: {dict(load.seen)}")
        assert load.seen[200] > 0.8 * sum(load.seen.values())


def single_process() -> list[Any]:
    environment = {"GOOGLENET_PORT": "{port}"}
    bodies = list(pictures("multipart"))
    command = (sys.executable, "-m", "app")
    with (
        TemporaryDirectory() as folder,
        run_server(command, environment, "/predict", bodies[0], Path(folder, "log")) as s,
    ):
        return [without_timing(s.ask("/predict", body)) for body in bodies]


def without_timing(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name not in ("timing_ms", "batch_size")}


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A head without cores of its own and two nodes."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def serve_run(*arguments: str) -> Iterator[str]:
    """`serve run` as a user types it; the port is chosen before, as it would be 8000 otherwise."""
    port = free_port()
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    address = ray.get_runtime_context().gcs_address
    command = [str(Path(sys.executable).with_name("serve")), "run", "--address", address, "--working-dir", str(ROOT)]
    process = subprocess.Popen([*command, "deploy.ray_serve:build", *arguments], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is None and healthy(url), "`serve run` serves")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def healthy(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    return False


def same_answers(client: httpx.Client, url: str, expected: list[Any]) -> None:
    files = sorted(PICTURES.glob("*.png"))
    for file, right in zip(files, expected, strict=True):
        answer = client.post(f"{url}/predict", files={"file": file.read_bytes()}).raise_for_status().json()
        assert without_timing(answer) == right, file
    batch = client.post(f"{url}/predict/batch", files=[("files", file.read_bytes()) for file in files[:64]]).json()
    labels = [answer["label"] for answer in batch["predictions"]]
    assert labels == [answer["label"] for answer in expected[:64]]
    refused = client.post(f"{url}/predict", files={"file": b"no picture"})
    assert (refused.status_code, refused.headers["content-type"]) == (415, "application/problem+json")
    print("answers equal, one by one and 64 at once; errors are the service's", flush=True)


def actors() -> list[bool]:
    """Of all replicas there ever were, whether they run."""
    known = ray._private.state.actors().values()
    return [actor["State"] == "ALIVE" for actor in known if actor["ActorClassName"].startswith("ServeReplica")]


def replicas() -> int:
    return sum(actors())


def wait_until(condition: Callable[[], bool], what: str) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + PATIENCE, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.1)
    print(f"{what}: after {time.monotonic() - started:.1f} s", flush=True)


class Load:
    """Clients that ask one picture after the other."""

    def __init__(self, url: str) -> None:
        self.url, self.seen, self.ended = url, Counter[object](), threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def _ask(self) -> None:
        picture = (PICTURES / "ankle-boot-0000.png").read_bytes()
        with httpx.Client(timeout=60) as client:
            while not self.ended.is_set():
                try:
                    self.seen[client.post(f"{self.url}/predict", files={"file": picture}).status_code] += 1
                except httpx.HTTPError as error:
                    self.seen[type(error).__name__] += 1


if __name__ == "__main__":
    main()
