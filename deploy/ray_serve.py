"""Runs the service on Ray Serve: autoscaled replicas on several nodes, also several on one GPU.

serve run --working-dir . deploy.ray_serve:app                             one core a replica, 1 to 4 of them
serve run --working-dir . deploy.ray_serve:build replicas=6 cpus=2         six, two cores each
serve run --working-dir . deploy.ray_serve:build gpus=0.25 max_replicas=16   four replicas a card

The working directory is this repository. Ray sends it to every node; the nodes need its dependencies and the extra
`ray`. The service's settings go into Ray's YAML of the application as `settings: {API_KEY: …}`. Host, port, header and
drain settings have no effect: Ray's proxy has its own. The limit on body bytes still applies. docs/scaling.md has the
costs and the alternatives.
"""

import os
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt
from ray import serve
from ray.serve import Application
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.service import Service
from app.inference.cpu import WORKERS_VARIABLE, usable_cores
from app.main import create_app


class Fleet(BaseModel):
    """Number of replicas and resources of each. Raises pydantic.ValidationError for an unknown or wrong value."""

    model_config = ConfigDict(extra="forbid")

    replicas: PositiveInt | None = None
    """Fixed number; if None, Ray scales between the next two."""
    min_replicas: PositiveInt = 1
    max_replicas: PositiveInt = 4
    ongoing: PositiveInt = 32
    """Target of the autoscaler: requests in progress per replica. Half of a batch waits while half is computed."""
    max_ongoing: PositiveInt = 256
    """Most requests in progress per replica; more wait in the proxy."""
    max_queued: PositiveInt = 1024
    """Most requests waiting in each proxy; more get a 503."""
    cpus: PositiveFloat = 1.0
    gpus: NonNegativeFloat = 0.0
    """GPUs per replica, also a fraction. More than 0 makes the replica compute on the GPU."""
    settings: dict[str, str] = {}
    """Settings of the service, without the prefix GOOGLENET_."""


class WithState:
    """Passes the lifespan's state to every request, as the ASGI specification says. Ray's replicas do not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self.state if scope["type"] == "lifespan" else dict(self.state)
        await self.app({**scope, "state": state}, receive, send)


def application() -> WithState:
    """Ray calls this once in every replica and runs the lifespan, which loads the model."""
    return WithState(create_app())


@serve.ingress(application)
class Classifier:
    """One replica: the whole application with its own queue and engine."""

    def __init__(self, cpus: float) -> None:
        # Ray does not pin replicas to cores. The engine uses its share of the cores if it knows the number of replicas.
        os.environ[WORKERS_VARIABLE] = str(max(1, round(usable_cores() / cpus)))

    async def check_health(self) -> None:
        """Ray replaces the replica when this raises. It raises when /health/live fails: only a new process helps."""
        service: Service = self.app.state["service"]  # type: ignore[attr-defined]
        if service.stuck:
            raise RuntimeError("the engine is stuck")


def build(fleet: Fleet) -> Application:
    """Builds the application, for `serve run` and `serve.run`."""
    service_settings = {f"GOOGLENET_{name.upper()}": value for name, value in fleet.settings.items()}
    environment = {"GOOGLENET_DEVICE": "cuda" if fleet.gpus else "cpu"} | service_settings
    scaling: dict[str, Any] = {"num_replicas": fleet.replicas}
    if fleet.replicas is None:
        scaling = {
            "autoscaling_config": {
                "min_replicas": fleet.min_replicas,
                "max_replicas": fleet.max_replicas,
                "target_ongoing_requests": fleet.ongoing,
                "upscale_delay_s": 5.0,
                "downscale_delay_s": 300.0,
            }
        }
    deployment = serve.deployment(
        Classifier,
        max_ongoing_requests=fleet.max_ongoing,
        max_queued_requests=fleet.max_queued,
        graceful_shutdown_timeout_s=20.0,
        health_check_period_s=10.0,
        health_check_timeout_s=5.0,
        ray_actor_options={
            "num_cpus": fleet.cpus,
            "num_gpus": fleet.gpus,
            "runtime_env": {"env_vars": environment},
        },
        **scaling,
    )
    return deployment.bind(fleet.cpus)


app = build(Fleet())
