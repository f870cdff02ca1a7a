"""Runs the gRPC server in the event loop of the HTTP server, with the same classifier, keys, metrics and log."""

import logging
from typing import Any

import grpc
from grpc_health.v1 import health
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection
from tritonclient.grpc.service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server

from app.api.service import Service
from app.api.upload.memory_budget import UploadBudget
from app.errors import StartError
from app.grpc.calls import CallMonitor, ServerState
from app.grpc.services import SERVICES, HealthService, InferenceService
from app.middleware.api_keys import ApiKeys
from app.middleware.request_log import RequestLog
from app.settings import Settings

log = logging.getLogger(__name__)

MAX_CALLS = 2048
"""Calls in progress. gRPC refuses others with RESOURCE_EXHAUSTED."""

MAX_STREAMS_PER_CONNECTION = 256
"""Calls in progress on one connection. HTTP/2 makes the client wait with others."""

MAX_METADATA = 16 * 1024
"""Bytes of a call's metadata. gRPC refuses more with RESOURCE_EXHAUSTED."""

MIN_PING_INTERVAL = 10.0
"""Seconds. A client that sends keepalive pings more often is disconnected (too_many_pings)."""

PING_INTERVAL = 60.0
"""Seconds between the server's own pings, which find clients that have vanished without closing the connection."""

CANCEL_TIME = 1.0
"""Seconds for the last statuses to be sent."""


class GrpcServer:
    """Started by the application's lifespan if GOOGLENET_GRPC_PORT is set."""

    def __init__(self, service: Service, keys: ApiKeys | None, uploads: UploadBudget, request_log: RequestLog) -> None:
        self._settings, self._state = service.settings, ServerState(service)
        self._monitor = CallMonitor(service, keys, uploads, request_log, self._state)
        self._server = grpc.aio.server(
            interceptors=[self._monitor], options=_options(service.settings), maximum_concurrent_rpcs=MAX_CALLS
        )
        inference = InferenceService(service, uploads, self._state, self._monitor)
        add_GRPCInferenceServiceServicer_to_server(inference, self._server)
        add_HealthServicer_to_server(HealthService(self._state), self._server)
        names = [name for name in (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME) if name]
        reflection.enable_server_reflection(names, self._server)

    async def start(self) -> None:
        """Raises StartError if the port is taken."""
        host, port = self._settings.host, self._settings.grpc_port
        address = f"[{host}]" if ":" in host else host
        try:
            port = self._server.add_insecure_port(f"{address}:{port}")
        except RuntimeError:
            raise StartError(f"GOOGLENET_HOST={host}, GOOGLENET_GRPC_PORT={port}: cannot be bound") from None
        await self._server.start()
        log.info("gRPC on %s:%d", address, port)

    def start_draining(self) -> None:
        """Readiness fails from now on. Calls are still accepted."""
        self._state.draining = True

    async def stop(self, grace: float) -> None:
        """Refuses new calls with UNAVAILABLE, and returns once those in progress are answered.

        After `grace` seconds their clients receive UNAVAILABLE, too. Only then does gRPC's own server stop: it would
        end calls that arrive while it stops with CANCELLED, which does not say that they may be sent again.
        """
        self._state.stop()
        await self._monitor.wait_for_calls(grace)
        self._monitor.cancel_all()
        await self._server.stop(CANCEL_TIME)


def _options(settings: Settings) -> list[tuple[str, Any]]:
    """Limits on what clients may do, as options of gRPC's C core (grpc/impl/channel_arg_names.h)."""
    return [
        ("grpc.so_reuseport", int(settings.workers > 1)),  # the workers listen side by side
        ("grpc.max_receive_message_length", settings.max_upload_bytes),
        ("grpc.per_message_decompression", 0),  # app.grpc.messages decompresses within the limit
        ("grpc.max_metadata_size", MAX_METADATA),
        ("grpc.absolute_max_metadata_size", MAX_METADATA),
        ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
        ("grpc.max_connection_idle_ms", _milliseconds(settings.keep_alive)),
        ("grpc.server_handshake_timeout_ms", _milliseconds(settings.header_timeout)),
        ("grpc.keepalive_time_ms", _milliseconds(PING_INTERVAL)),
        ("grpc.keepalive_timeout_ms", _milliseconds(settings.header_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(MIN_PING_INTERVAL)),
    ]


def _milliseconds(seconds: float) -> int:
    """At most gRPC's largest number."""
    return int(min(1000 * seconds, 2**31 - 1))
