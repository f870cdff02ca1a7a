"""Assembles the application: settings, checkpoint, engine, classifier, routes and middleware.

Importing this module loads no network. The lifespan does, when a server starts the application.
"""

import asyncio
import functools
import gc
import importlib.metadata
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from app.api import explain, monitoring, page, predict, problems
from app.api.direct_routes import include_direct_router
from app.api.openapi import add_head_methods
from app.api.service import Service
from app.api.upload.memory_budget import UploadBudget
from app.api.v1 import routes as v1
from app.api.v2 import routes as v2
from app.errors import StartError
from app.inference.classifier import Classifier
from app.inference.cpu import THREAD_SWITCH_INTERVAL, lower_thread_priority
from app.inference.engines import choose
from app.metrics import Metrics, remove_dead_workers
from app.middleware.api_keys import ApiKeys
from app.middleware.authentication import Authentication
from app.middleware.early_rejection import EarlyRejection
from app.middleware.request_log import RequestLog
from app.middleware.request_monitor import RequestMonitor
from app.settings import Settings, traces_requested
from model.checkpoint import Checkpoint

if TYPE_CHECKING:
    from app.grpc.server import GrpcServer
    from app.tracing.tracing import Tracing

log = logging.getLogger(__name__)

ENGINE_STOP_TIMEOUT = 1.0
"""Seconds for the engine's last batch, after the server has waited for its clients."""

MAX_BODIES_IN_MEMORY = 16
"""Request bodies of the largest allowed size."""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application. Without `settings` it reads those of the environment when it starts.

    Its lifespan loads the checkpoint onto the GPU or the CPU, verifies the engine and warms it up. At the end it
    finishes the accepted work.
    """
    metrics = Metrics()
    request_log = RequestLog(metrics)
    app = FastAPIOffline(
        redoc_url=None,
        title="fashion-googlenet",
        description="Fashion-MNIST class probabilities for pictures of garments, from a GoogLeNet.",
        version=importlib.metadata.version("fashion-googlenet"),
        lifespan=functools.partial(_lifespan, settings=settings, metrics=metrics, request_log=request_log),
        redirect_slashes=False,  # app.api.paths.normalise
        telemetry={"tracing": False, "metrics": False, "logs": False},  # app.tracing and app.metrics do this
    )
    routers = [monitoring.router, page.router, v1.router, v2.router]
    add_head_methods(app, *routers)
    include_direct_router(app, predict.router, explain.router)
    for router in routers:
        app.include_router(router)
    app.add_middleware(Authentication)  # the last one added is the outermost
    app.add_middleware(RequestMonitor, request_log=request_log)
    problems.add_exception_handlers(app)
    return app


@asynccontextmanager
async def _lifespan(
    app: FastAPI, settings: Settings | None, metrics: Metrics, request_log: RequestLog
) -> AsyncIterator[dict[str, Any]]:
    """Yields what requests find in their state."""
    settings = settings or Settings()
    remove_dead_workers()
    keys = ApiKeys.from_settings(settings)
    grpc_server_class = _import_grpc() if settings.grpc_port is not None else None
    classifier = await asyncio.to_thread(_load, settings, metrics)
    tracing = _start_tracing(classifier, request_log)
    gc.freeze()  # these objects stay for ever: the garbage collector need not search them
    sys.setswitchinterval(THREAD_SWITCH_INTERVAL)
    classifier.start()
    service, uploads = Service(settings, classifier), UploadBudget(MAX_BODIES_IN_MEMORY * settings.max_upload_bytes)
    grpc_server = grpc_server_class(service, keys, uploads, request_log) if grpc_server_class else None
    try:
        if grpc_server:
            await grpc_server.start()
    except StartError:
        await classifier.stop()
        raise
    yield {
        "service": service,
        "keys": keys,
        "uploads": uploads,
        "grpc_server": grpc_server,
        "reload": classifier.reload,
        "early_rejection": EarlyRejection(classifier.admission, request_log, settings.root_path),
    }
    if grpc_server:
        await grpc_server.stop(0)  # app.http.server has stopped it already, other servers have not
    request_log.log_summaries()
    await asyncio.gather(_stop(classifier), *([tracing.stop()] if tracing else []))
    request_log.tracing = None


def _start_tracing(classifier: Classifier, request_log: RequestLog) -> "Tracing | None":
    """None if no traces are asked for; OpenTelemetry's SDK is not imported then. Raises StartError if it is missing."""
    if not traces_requested():
        return None
    try:
        from app.tracing.tracing import Tracing
    except ModuleNotFoundError as error:
        install = "pip install 'fashion-googlenet[tracing]', or unset the variable"
        raise StartError(f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {error.name} is not installed: {install}") from None
    tracing = Tracing(classifier.model, classifier.metrics)
    request_log.tracing = tracing
    classifier.trace(tracing)
    return tracing


async def _stop(classifier: Classifier) -> None:
    try:
        await asyncio.wait_for(classifier.stop(), ENGINE_STOP_TIMEOUT)
    except TimeoutError:
        log.error("stopped while the engine was busy, %d pictures unanswered", classifier.batcher.waiting)


def _import_grpc() -> "type[GrpcServer]":
    """gRPC is not loaded unless its port is set. Raises StartError if it is not installed."""
    try:
        from app.grpc.server import GrpcServer
    except ImportError as error:
        message = f"GOOGLENET_GRPC_PORT needs the extra grpc: pip install 'fashion-googlenet[grpc]' ({error})"
        raise StartError(message) from None
    return GrpcServer


def _load(settings: Settings, metrics: Metrics) -> Classifier:
    lower_thread_priority()  # inherited by the engine's threads, which start here
    checkpoint = Checkpoint.load(settings.checkpoint)
    return Classifier(checkpoint, choose.build_engine(settings, checkpoint), settings, metrics)


app = create_app()
