"""The gRPC services: inference.GRPCInferenceService and grpc.health.v1.Health.

The message classes are those of Triton's client (tritonclient) and of gRPC's packages.
"""

import asyncio
import contextlib
import time
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from app.api.service import Service
from app.api.upload.memory_budget import UploadBudget
from app.api.v2.model import ServedModel, score_with_one_version, server_metadata
from app.errors import QueueFull, ServiceError, UnknownModel
from app.grpc.calls import Call, CallMonitor, RequestStream, ServerState, status_code
from app.grpc.messages import encode_response, parse_request
from app.inference.readiness import RESULT_LIFETIME

EXTENSIONS = ["classification", "model_configuration", "statistics"]
"""Triton's extensions that are completely supported over gRPC."""

MAX_STREAMS = 32
"""ModelStreamInfer calls at a time. Each can hold an incomplete message of MAX_UPLOAD_BYTES."""

STREAM_WINDOW = 64
"""Requests of one stream in progress; no more are read until the first has been answered."""

SERVICES = ("", service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name)
"""Names that grpc.health.v1 knows; the empty one is the server."""


class InferenceService(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Methods that are not defined here answer UNIMPLEMENTED."""

    def __init__(self, service: Service, uploads: UploadBudget, state: ServerState, monitor: CallMonitor) -> None:
        self._service, self._uploads, self._state, self._monitor = service, uploads, state, monitor
        self._streams = 0

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=not self._service.stuck)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerReadyResponse(ready=await self._state.unready_reason() is None)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        self._model(request.name, request.version)
        return service_pb2.ModelReadyResponse(ready=await self._state.unready_reason() is None)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        return ParseDict(server_metadata(EXTENSIONS), service_pb2.ServerMetadataResponse())

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        return ParseDict(self._model(request.name, request.version).metadata(), service_pb2.ModelMetadataResponse())

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        config = self._model(request.name, request.version).config()
        return ParseDict({"config": config}, service_pb2.ModelConfigResponse())

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        statistics = self._model(request.name, request.version).statistics()
        return ParseDict(statistics, service_pb2.ModelStatisticsResponse())

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        reason = await self._state.unready_reason()
        models = self._model("", "").index(reason, only_ready=request.ready)
        return ParseDict({"models": models}, service_pb2.RepositoryIndexResponse())

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """All pictures are answered, or none. A cancelled call frees its places in the queue."""
        model = self._model(request.model_name, request.model_version)
        classifier, settings, size = self._service.classifier, self._service.settings, request.ByteSize()
        reservation: dict[str, Any] = {}
        try:
            self._uploads.reserve(reservation, size)
            infer_request = await self._uploads.parse(size, parse_request, request, settings.queue_size)
            scores = await score_with_one_version(classifier, infer_request.tensors)
        finally:
            self._uploads.release(reservation)
        version, classes = scores[0].version[:12], classifier.checkpoint.metadata.classes
        return encode_response(infer_request, model.name, version, classes, scores)

    async def ModelStreamInfer(self, requests: RequestStream, context: Any) -> None:
        """Answers in the order of the requests. A request's error is in its response, and the stream goes on."""
        if self._streams >= MAX_STREAMS:
            raise QueueFull(f"there are {self._streams} streams already")
        self._streams += 1
        try:
            await self._answer_stream(requests, context)
        finally:
            self._streams -= 1

    async def _answer_stream(self, requests: RequestStream, context: Any) -> None:
        """Reads and answers side by side. An error of the stream itself is raised after the last answer."""
        answers: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue(STREAM_WINDOW)
        failures: list[ServiceError] = []

        async def read() -> None:
            try:
                async for request in requests:
                    await answers.put(group.create_task(self._stream_response(request, requests.call, context)))
            except ServiceError as error:
                failures.append(error)
            await answers.put(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            while (answer := await answers.get()) is not None:
                await context.write(await answer)
        if failures:
            raise failures[0]

    async def _stream_response(self, request: Any, call: Call, context: Any) -> Any:
        started, size = time.monotonic(), request.ByteSize()
        status, code, message = 200, grpc.StatusCode.OK, ""
        try:
            response = await self.ModelInfer(request, context)
        except ServiceError as error:
            status, code, message = error.status, status_code(error), error.detail
            response = service_pb2.ModelInferResponse(id=request.id)
        self._monitor.log_call(call, status, code, size, started)
        response.parameters["triton_final_response"].bool_param = True
        return service_pb2.ModelStreamInferResponse(error_message=message, infer_response=response)

    def _model(self, name: str, version: str) -> ServedModel:
        """The empty name or version is any. Raises UnknownModel."""
        return ServedModel(self._service, name or None, version or None)


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """gRPC's health checking protocol (grpc/doc/health-checking.md), for Kubernetes and load balancers."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def Check(self, request: Any, context: Any) -> Any:
        if request.service not in SERVICES:
            raise UnknownModel(f"there is no service {request.service[:60]!r}")
        return health_pb2.HealthCheckResponse(status=await self._status(request.service))

    async def Watch(self, request: Any, context: Any) -> None:
        """Sends each change, at most once a second, until the server stops."""
        sent = None
        while True:
            stopping = self._state.stopping.is_set()
            status = await self._status(request.service)
            if status != sent:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                sent = status
            if stopping:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._state.stopping.wait(), RESULT_LIFETIME)

    async def _status(self, name: str) -> Any:
        statuses = health_pb2.HealthCheckResponse
        if name not in SERVICES:
            return statuses.SERVICE_UNKNOWN
        return statuses.SERVING if await self._state.unready_reason() is None else statuses.NOT_SERVING
