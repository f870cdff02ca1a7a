"""The same application on Ray Serve: replicas over nodes, parts of cards, as many as the load asks for.

serve run --working-dir . deploy.ray_serve:app                             one core a replica, 1 to 4 of them
serve run --working-dir . deploy.ray_serve:build replicas=6 cpus=2         six, two cores each
serve run --working-dir . deploy.ray_serve:build gpus=0.25 max_replicas=16   four replicas a card

The working directory is this repository, which every node is sent; the nodes need its dependencies and the extra `ray`.
Settings are the service's own, as `settings: {API_KEY: …}` in Ray's YAML of the application. Host, port, header, body
and drain limits are the proxy's here, and have no effect. What a request costs on this way, and what else there is:
docs/scaling.md.
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
    """How many replicas, and what each may use. Raises pydantic.ValidationError for anything else."""

    model_config = ConfigDict(extra="forbid")

    replicas: PositiveInt | None = None
    """So many, always; without it as many as the load asks for, between the next two."""
    min_replicas: PositiveInt = 1
    max_replicas: PositiveInt = 4
    ongoing: PositiveInt = 32
    """Requests under way in each replica that the number of replicas aims at: half a batch waits, half is computed."""
    max_ongoing: PositiveInt = 256
    """Requests that a replica is handed at once; more wait in the proxy."""
    max_queued: PositiveInt = 1024
    """Requests that wait in each proxy; more get 503."""
    cpus: PositiveFloat = 1.0
    gpus: NonNegativeFloat = 0.0
    """Cards, or part of one; any makes the replica compute there."""
    settings: dict[str, str] = {}
    """Of the service, without GOOGLENET_."""


class WithState:
    """Hands the lifespan's state to every request, as the ASGI specification has it and Ray's replica does not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self.state if scope["type"] == "lifespan" else dict(self.state)
        await self.app({**scope, "state": state}, receive, send)


def application() -> WithState:
    """Called once in every replica; Ray runs its lifespan, which loads the model."""
    return WithState(create_app())


@serve.ingress(application)
class Classifier:
    """One replica: the whole application, its queue and its engine."""

    def __init__(self, cpus: float) -> None:
        # Ray does not pin: the engine, which would take every core there is, is told how many others there are.
        os.environ[WORKERS_VARIABLE] = str(max(1, round(usable_cores() / cpus)))

    async def check_health(self) -> None:
        """Ray puts another replica in this one's place when this raises: as /health/live, if nothing else helps."""
        service: Service = self.app.state["service"]  # type: ignore[attr-defined]
        if service.stuck:
            raise RuntimeError("the engine is stuck")


def build(fleet: Fleet) -> Application:
    """The application, for `serve run` and `serve.run`."""
    chosen = {f"GOOGLENET_{name.upper()}": value for name, value in fleet.settings.items()}
    environment = {"GOOGLENET_DEVICE": "cuda" if fleet.gpus else "cpu"} | chosen
    number: dict[str, Any] = {"num_replicas": fleet.replicas}
    if fleet.replicas is None:
        number = {
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
        **number,
    )
    return deployment.bind(fleet.cpus)


app = build(Fleet())
