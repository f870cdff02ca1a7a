"""Wires the parts: settings → checkpoint → engine → classifier → routes. Loads nothing before the lifespan starts."""

import asyncio
import gc
import importlib.metadata
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import direct_routes, explain, health, page, predict, problems, prometheus
from app.api.openapi import answer_heads
from app.api.service import Service
from app.api.upload.memory_budget import UploadBudget
from app.api.v2 import routes
from app.errors import StartError
from app.inference.classifier import Classifier
from app.inference.cpu import lower_thread_priority
from app.inference.engines import choose
from app.metrics import Metrics, forget_the_dead
from app.middleware.api_keys import ApiKeys
from app.middleware.authentication import Authentication
from app.middleware.early_rejection import EarlyRejection
from app.middleware.request_log import RequestLog
from app.middleware.request_monitor import RequestMonitor
from app.middleware.root_path import RootPath
from app.settings import Settings, validation_message
from model.checkpoint import Checkpoint, CheckpointError

log = logging.getLogger(__name__)

LAST_BATCH = 1.0
"""Seconds the engine is given to finish when the server, which waits for its clients first, has stopped."""

BODIES = 16
"""Of the largest size allowed, that are held at a time."""

SWITCH = 0.0005
"""Seconds after which a thread that computes in Python lets another: the engine's waits for nothing else."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; without settings, those of the environment when it starts.

    Its lifespan loads the checkpoint onto the GPU or the CPU, proves and warms up the engine, and at
    the end finishes the accepted work.
    """

    metrics = Metrics()
    journal = RequestLog(metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        used = settings or Settings()
        forget_the_dead()
        keys = ApiKeys.read(used)
        classifier = await asyncio.to_thread(_load, used, metrics)
        gc.freeze()  # what is here stays: it need not be looked through again and again
        sys.setswitchinterval(SWITCH)
        classifier.start()
        yield {
            "service": Service(used, classifier),
            "keys": keys,
            "uploads": UploadBudget(BODIES * used.max_upload_bytes),
            "reload": classifier.reload,
            "door": EarlyRejection(classifier.admission, journal, used.root_path),
        }
        journal.sum_up()
        try:
            await asyncio.wait_for(classifier.stop(), LAST_BATCH)
        except TimeoutError:
            log.error("stopped while the engine was busy, %d pictures unanswered", classifier.batcher.waiting)

    app = FastAPIOffline(
        redoc_url=None,
        title="fashion-googlenet",
        description="Fashion-MNIST class probabilities for pictures of garments, from a GoogLeNet.",
        version=importlib.metadata.version("fashion-googlenet"),
        lifespan=lifespan,
        redirect_slashes=False,  # app.middleware.root_path
    )
    long = [explain.api, health.api, prometheus.api, page.api, routes.api]
    answer_heads(app, *long)
    direct_routes.include(app, predict.api)
    for router in long:
        app.include_router(router)
    app.add_middleware(Authentication)
    app.add_middleware(RequestMonitor, journal=journal)
    app.add_middleware(RootPath)
    app.add_middleware(OneLineStartErrors)
    problems.install(app)
    return app


def _load(settings: Settings, metrics: Metrics) -> Classifier:
    lower_thread_priority()  # the engine's own threads begin here
    checkpoint = Checkpoint.load(settings.checkpoint)
    return Classifier(checkpoint, choose.build(settings, checkpoint), settings, metrics)


class OneLineStartErrors:
    """ASGI middleware: a start that fails for a known reason says so in one line instead of a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            return await self.app(scope, receive, send)
        held_back: list[Message] = []

        async def hold_back_failure(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                held_back.append(message)
            else:
                await send(message)

        try:
            await self.app(scope, receive, hold_back_failure)
        except Exception as error:
            for message in held_back:
                await send({**message, "message": _in_one_line(error) or message["message"]})
            raise


def _in_one_line(error: Exception) -> str | None:
    if isinstance(error, ValidationError):
        return validation_message(error)
    return str(error) if isinstance(error, CheckpointError | StartError) else None


app = create_app()
