"""The servers that benchmarks.servers compares: this service, with and without its neural network, and its peers."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

QUIET_PEERS = {
    "BENTOML_DO_NOT_TRACK": "1",
    "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}
"""Environment variables that turn usage statistics and access logs of the peers off."""

PEERS = {"tutorial": "tutorial FastAPI", "lit": "LitServe", "bento": "BentoML", "rayserve": "Ray Serve"}
"""Modules in benchmarks.peers, with the name of each server."""

PEER_COMMANDS = {"bento": ("bentoml", "serve", "benchmarks.peers.bento:Classifier", "--port", "{port}")}
"""Arguments of `python -m`. Every other peer is a module that takes the port."""

RAW_PATHS = {"tutorial": "/raw", "rayserve": "/predict"}
"""Paths that take a picture as the raw body. LitServe and a batching BentoML take only forms and JSON."""


@dataclass(frozen=True)
class Contestant:
    """How to start a server, and which paths take which bodies."""

    name: str
    way: str
    """"ours", "stub" (ours with an engine that answers at once), "documented" (a peer as its documentation shows it) or
    "engine" (a peer with our engine)."""
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    raw_path: str | None = "/predict"

    @property
    def key(self) -> str:
        return f"{self.name}, {self.way}"

    def path(self, body: str) -> str | None:
        """The path for a kind of body; None if the server does not take it."""
        if body == "jpeg" and self.way in ("ours", "stub"):
            return "/predict?mode=native"  # as the peers preprocess it
        return self.raw_path if body == "raw" else "/predict"


def contestants(peers_python: Path, only: list[str] | None) -> list[Contestant]:
    """All servers, in the order of a round. `only` selects peers by their modules."""
    serve = (sys.executable, "-m", "app")
    port = {"GOOGLENET_PORT": "{port}"}
    instant = port | {"GOOGLENET_ENGINE": "benchmarks.harness.instant_engine:InstantEngine"}
    own = [
        Contestant("fashion-googlenet", "ours", serve, port),
        Contestant("fashion-googlenet", "stub", serve, instant),
    ]
    return own + [
        Contestant(
            name=name,
            way=way,
            command=(str(peers_python), "-m", *PEER_COMMANDS.get(module, (f"benchmarks.peers.{module}", "{port}"))),
            environment=QUIET_PEERS | {"PEER_ENGINE": engine},
            raw_path=RAW_PATHS.get(module),
        )
        for module, name in PEERS.items()
        if only is None or module in only
        for way, engine in (("documented", "torch"), ("engine", "ours"))
    ]
