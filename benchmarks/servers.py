"""Who is measured: this service, the path without its network, and each peer in two ways."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

SILENT = {
    "BENTOML_DO_NOT_TRACK": "1",
    "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
}
"""No usage statistics, and no line in a log for each request."""

PEERS = {"tutorial": "tutorial FastAPI", "lit": "LitServe", "bento": "BentoML", "rayserve": "Ray Serve"}
"""Module in benchmarks.peers → name."""

COMMANDS = {"bento": ("bentoml", "serve", "benchmarks.peers.bento:Classifier", "--port", "{port}")}
"""After `python -m`; the others are modules that take the port."""

RAW_PATHS = {"tutorial": "/raw", "rayserve": "/predict"}
"""LitServe, and BentoML where it batches, take forms and JSON only."""


@dataclass(frozen=True)
class Contestant:
    """How one server is started and where it takes what."""

    name: str
    way: str
    """"ours", "stub" (the path alone), "documented" (a peer as its documentation shows it) or "engine" (on ours)."""
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    raw_path: str | None = "/predict"

    @property
    def key(self) -> str:
        return f"{self.name}, {self.way}"

    def path(self, body: str) -> str | None:
        """Where this body goes, None if the server does not take it."""
        if body == "jpeg" and self.way in ("ours", "stub"):
            return "/predict?mode=native"  # what the peers do; left alone, the service would look for the garment in it
        return self.raw_path if body == "raw" else "/predict"


def contestants(peers_python: Path, only: list[str] | None) -> list[Contestant]:
    """In the order in which a round takes them; `only` names modules of peers."""
    serve = (sys.executable, "-m", "app")
    port = {"GOOGLENET_PORT": "{port}"}
    own = [
        Contestant("fashion-googlenet", "ours", serve, port),
        Contestant("fashion-googlenet", "stub", serve, port | {"GOOGLENET_ENGINE": "benchmarks.stub:AtOnce"}),
    ]
    return own + [
        Contestant(
            name=name,
            way=way,
            command=(str(peers_python), "-m", *COMMANDS.get(module, (f"benchmarks.peers.{module}", "{port}"))),
            environment=SILENT | {"PEER_ENGINE": engine},
            raw_path=RAW_PATHS.get(module),
        )
        for module, name in PEERS.items()
        if only is None or module in only
        for way, engine in (("documented", "torch"), ("engine", "ours"))
    ]
