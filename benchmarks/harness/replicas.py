"""Runs several replicas behind one port: plain processes behind HAProxy, or Ray Serve on a local cluster of nodes.

python -m benchmarks.harness.replicas haproxy 8000            two processes, each pinned to a core, behind HAProxy
python -m benchmarks.harness.replicas ray 8000 --replicas 2   a head node, and two one-core nodes with a replica each

SIGTERM ends it. SIGUSR1 kills one replica together with its node, and prints how long the replacement took. Ray starts
the new replica on a spare node, which joins just before the kill; a plain process is started again at once. With
RAY_SERVE_ENABLE_HA_PROXY=1 Ray replaces its own proxy by HAProxy, which sends requests directly to the replicas.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from benchmarks.harness.processes import free_port

CONFIGURATION = Path(__file__).parent.parent.parent / "deploy" / "haproxy" / "haproxy.cfg"
OBJECT_STORE_BYTES = 100 << 20
"""Per node. The service stores nothing there, and all nodes share this machine's memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["haproxy", "ray"])
    parser.add_argument("port", type=int)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1, help="of a replica and of its node")
    options = parser.parse_args()
    with ExitStack() as stack:
        kill = (_ray if options.kind == "ray" else _haproxy)(options, stack)
        signals: SimpleQueue[int] = SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, lambda number, _: signals.put(number))
        while signals.get() == signal.SIGUSR1:
            print(f"WHOLE after {kill():.1f} s", flush=True)


def _haproxy(options: argparse.Namespace, stack: ExitStack) -> Callable[[], float]:
    """Starts HAProxy and two replicas, the number in its configuration."""
    ports = [free_port(), free_port()]
    replicas = [_replica(port, core) for core, port in enumerate(ports)]
    stack.callback(lambda: [replica.kill() for replica in replicas])
    addresses = {f"REPLICA_{i}": f"127.0.0.1:{port}" for i, port in enumerate(ports, 1)}
    environment = os.environ | addresses | {"BIND": f"127.0.0.1:{options.port}"}
    stack.callback(subprocess.Popen(["haproxy", "-f", str(CONFIGURATION)], env=environment).kill)

    def kill() -> float:
        started = time.monotonic()
        replicas[1].kill()
        replicas[1].wait()
        replicas[1] = _replica(ports[1], 1)
        while not _open(ports[1]):
            time.sleep(0.05)
        return time.monotonic() - started

    return kill


def _replica(port: int, core: int) -> "subprocess.Popen[bytes]":
    command = ["taskset", "-c", str(core % (os.cpu_count() or 1)), sys.executable, "-m", "app"]
    return subprocess.Popen(command, env=os.environ | {"GOOGLENET_PORT": str(port)})


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ray(options: argparse.Namespace, stack: ExitStack) -> Callable[[], float]:
    """Starts a head node without cores, and one node per replica."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from deploy.ray_serve import Fleet, build

    node = {"num_cpus": options.cpus, "object_store_memory": OBJECT_STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"num_cpus": 0, "include_dashboard": False})
    stack.callback(cluster.shutdown)
    nodes = [cluster.add_node(**node) for _ in range(options.replicas)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    stack.callback(ray.shutdown)
    stack.callback(serve.shutdown)
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": options.port})
    serve.run(build(Fleet(replicas=options.replicas, cpus=options.cpus)), route_prefix="/")

    def alive() -> list[bool]:
        """Whether each replica that was ever started is alive."""
        actors = ray._private.state.actors().values()  # the public function needs the dashboard, which is not started
        return [actor["State"] == "ALIVE" for actor in actors if actor["ActorClassName"].startswith("ServeReplica")]

    def kill() -> float:
        cluster.add_node(**node)  # the spare node
        before, started = len(alive()), time.monotonic()
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        while len(alive()) == before or sum(alive()) < options.replicas:
            time.sleep(0.1)
        return time.monotonic() - started

    return kill


if __name__ == "__main__":
    main()
