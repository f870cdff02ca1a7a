"""gRPC interceptor around every call: API key, message limits, errors → gRPC statuses, metrics and request log."""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

import grpc
from grpc import StatusCode

from app import errors
from app.api.service import Service
from app.api.upload.memory_budget import UploadBudget
from app.asgi import CLIENT_DISCONNECTED, LOG_FIELDS
from app.errors import BodyTooSlow, EmptyBody, NotReady, ServiceError, Unauthorized
from app.grpc.messages import decode
from app.middleware.api_keys import ApiKeys
from app.middleware.request_log import RequestLog
from app.middleware.request_monitor import CLIENT_CLOSED_REQUEST

log = logging.getLogger(__name__)

CODES: dict[type[ServiceError], StatusCode] = {
    errors.BadRequest: StatusCode.INVALID_ARGUMENT,
    errors.Unauthorized: StatusCode.UNAUTHENTICATED,
    errors.UnknownModel: StatusCode.NOT_FOUND,
    errors.TooSlow: StatusCode.DEADLINE_EXCEEDED,
    errors.BodyTooLarge: StatusCode.RESOURCE_EXHAUSTED,  # as gRPC itself answers a message that is too large
    errors.TooManyPixels: StatusCode.INVALID_ARGUMENT,
    errors.Unsupported: StatusCode.INVALID_ARGUMENT,
    errors.Unusable: StatusCode.INVALID_ARGUMENT,
    errors.HeadersTooLarge: StatusCode.RESOURCE_EXHAUSTED,
    errors.QueueFull: StatusCode.RESOURCE_EXHAUSTED,
    errors.NotReady: StatusCode.UNAVAILABLE,
    errors.OutOfMemory: StatusCode.RESOURCE_EXHAUSTED,
    errors.EngineFailed: StatusCode.UNAVAILABLE,
    errors.DeadlinePassed: StatusCode.DEADLINE_EXCEEDED,
}
"""gRPC's status of each error, beside the HTTP status in app.errors. A class stands for its subclasses too."""

INFERENCE = "/inference.GRPCInferenceService/"
INFER, STREAM_INFER = f"{INFERENCE}ModelInfer", f"{INFERENCE}ModelStreamInfer"
PUBLIC_METHODS = {f"{INFERENCE}{name}" for name in ("ServerLive", "ServerReady", "ModelReady")}
PUBLIC_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""What needs no key: probes, and the descriptions of the services, which are public anyway."""

MAX_RECEIVING = 32
"""Messages of ModelInfer that are received at a time. gRPC shows no message before it is complete, so that this times
MAX_UPLOAD_BYTES bounds the memory that incomplete messages take."""

CROWDED_TIMEOUT = 1.0
"""Seconds a message may take to arrive, instead of BODY_TIMEOUT, while others wait: slow clients must not hold them
up."""

IDLE_GRACE = 1.0
"""Seconds after the server has begun to stop in which streams may still send requests, and new calls are told so."""

QUIET_TIME, POLL_INTERVAL = 0.2, 0.02
"""Seconds. The server stops sooner if no call has arrived for QUIET_TIME, which is checked every POLL_INTERVAL."""

DEADLINE_MARGIN = 0.05
"""Seconds. A call that is cancelled so shortly before its deadline was ended by it: the client's clock is ahead by the
time that the call took to arrive."""


def status_code(error: ServiceError) -> StatusCode:
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


class ServerState:
    """What the calls have to know of the server's readiness and end."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.draining = False
        """Whether the process has received a signal to stop; calls are still accepted."""
        self.stopping = asyncio.Event()
        """Set once no more calls are accepted, except for probes."""
        self.stop_reading_at = 0.0
        """time.monotonic() after which streams read no more requests; only if `stopping`."""

    async def unready_reason(self) -> str | None:
        """As GET /health: why no pictures should be sent to this process; None if it is ready."""
        return "the service is stopping" if self.draining else await self._service.probe.failure()

    def stop(self) -> None:
        self.draining = True
        if not self.stopping.is_set():
            self.stop_reading_at = time.monotonic() + IDLE_GRACE
            self.stopping.set()


@dataclass
class Call:
    """A call in progress. `size` is the number of bytes received."""

    method: str
    headers: list[tuple[bytes, bytes]]
    handler: Any
    context: Any
    request_id: bytes
    started: float = field(default_factory=time.monotonic)
    size: int = 0

    @property
    def is_public(self) -> bool:
        return self.method in PUBLIC_METHODS or self.method.startswith(PUBLIC_SERVICES)

    @property
    def deadline_passed(self) -> bool:
        remaining = self.context.time_remaining()
        return remaining is not None and remaining < DEADLINE_MARGIN


@dataclass
class RequestStream:
    """The requests of a call, in order."""

    call: Call
    requests: AsyncIterator[Any]

    def __aiter__(self) -> AsyncIterator[Any]:
        return self.requests


class CallMonitor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Interceptor around all services. It reads requests itself, and so checks a call before its message arrives."""

    def __init__(
        self, service: Service, keys: ApiKeys | None, uploads: UploadBudget, request_log: RequestLog, state: ServerState
    ) -> None:
        self._settings, self._admission = service.settings, service.classifier.admission
        self._keys, self._uploads, self._request_log, self._state = keys, uploads, request_log, state
        self._receiving = asyncio.Semaphore(MAX_RECEIVING)
        self._arriving: dict[asyncio.Timeout, float] = {}
        """Time limit of each message that may take BODY_TIMEOUT to arrive, and the loop's time at which it began."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cancelling = False
        self._last_arrival = 0.0
        """time.monotonic() of the last call."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The monitored handler. gRPC calls it with raw messages, and it reads them whenever it wants to."""
        handler = await continuation(details)
        if handler is None:  # gRPC answers UNIMPLEMENTED
            return None
        headers = [(k.encode(), v if isinstance(v, bytes) else v.encode()) for k, v in details.invocation_metadata]

        async def monitored(_: Any, context: Any) -> Any:
            request_id = self._request_log.request_id(headers)
            return await self._run(Call(details.method, headers, handler, context, request_id))

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(monitored, response_serializer=handler.response_serializer)
        return grpc.stream_unary_rpc_method_handler(monitored, response_serializer=handler.response_serializer)

    async def wait_for_calls(self, grace: float) -> None:
        """Returns when all calls have ended and no new ones arrive: after `grace` seconds at the latest."""
        now = time.monotonic()
        deadline, told_by = now + grace, now + min(grace, IDLE_GRACE)
        while now < deadline and (self._tasks or now < min(told_by, self._last_arrival + QUIET_TIME)):
            await asyncio.sleep(POLL_INTERVAL)
            now = time.monotonic()

    def cancel_all(self) -> None:
        """Ends the calls in progress at the drain limit. Their clients receive UNAVAILABLE."""
        self._cancelling = True
        if self._tasks:
            log.error("stopped with %d gRPC calls unfinished", len(self._tasks))
        for task in self._tasks:
            task.cancel()

    def log_call(self, call: Call, status: int, code: StatusCode, size: int, started: float) -> None:
        """Counts and logs a call, or one request of a stream, like an HTTP request of the same status."""
        scope: dict[str, Any] = {"method": "GRPC", "headers": [(b"content-length", b"%d" % size)]}
        scope[LOG_FIELDS] = {"grpc": code.name}
        if status == CLIENT_CLOSED_REQUEST:
            scope[CLIENT_DISCONNECTED] = True
        self._request_log.add(scope, call.request_id, call.method, status, time.monotonic() - started)

    async def _run(self, call: Call) -> Any:
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._tasks.add(task)
        self._last_arrival = call.started
        status, code = 200, StatusCode.OK
        try:
            self._check(call)
            return await (self._respond_in_stream(call) if call.handler.response_streaming else self._respond(call))
        except ServiceError as error:
            status, code = error.status, status_code(error)
            await self._abort(call, error, code)
        except NotImplementedError:
            status, code = HTTPStatus.NOT_IMPLEMENTED, StatusCode.UNIMPLEMENTED
            await call.context.abort(code, "this method is not supported")
        except asyncio.CancelledError:
            if self._cancelling:
                task.uncancel()
                status, code = NotReady.status, StatusCode.UNAVAILABLE
                await self._abort(call, NotReady("the service is stopping"), code)
            status, code = CLIENT_CLOSED_REQUEST, StatusCode.CANCELLED
            if call.deadline_passed:
                status, code = errors.DeadlinePassed.status, StatusCode.DEADLINE_EXCEEDED
            raise
        except Exception:
            status, code = HTTPStatus.INTERNAL_SERVER_ERROR, StatusCode.INTERNAL
            log.exception("%s failed", call.method)
            await call.context.abort(code, "a defect of the service")
        finally:
            self._tasks.discard(task)
            if call.method != STREAM_INFER or status != 200:  # each of its requests has been logged
                self.log_call(call, int(status), code, call.size, call.started)

    async def _abort(self, call: Call, error: ServiceError, code: StatusCode) -> None:
        """Ends the call with the error's code and detail. Retry-After becomes gRPC's own field (gRFC A6)."""
        metadata = [("x-request-id", call.request_id.decode()), ("error-code", error.code)]
        if retry_after := error.headers.get("Retry-After"):
            metadata.append(("grpc-retry-pushback-ms", f"{1000 * int(retry_after)}"))
        await call.context.abort(code, error.detail, tuple(metadata))

    def _check(self, call: Call) -> None:
        """Refuses a call from its metadata alone."""
        if self._state.stopping.is_set() and not call.is_public:
            raise NotReady("the service is stopping")
        if self._keys is not None and not call.is_public and not self._keys.accept(call.headers):
            raise Unauthorized("send a key in the metadata, as authorization: Bearer … or x-api-key")
        if call.method == INFER and self._admission.overloaded:
            raise self._admission.rejection(1)

    async def _respond(self, call: Call) -> Any:
        call.context.set_trailing_metadata((("x-request-id", call.request_id.decode()),))
        return await call.handler.unary_unary(await self._receive(call), call.context)

    async def _respond_in_stream(self, call: Call) -> None:
        if call.handler.request_streaming:
            behavior, request = call.handler.stream_stream, RequestStream(call, self._receive_stream(call))
        else:
            behavior, request = call.handler.unary_stream, await self._receive(call)
        if inspect.isasyncgenfunction(behavior):
            async for response in behavior(request, call.context):
                await call.context.write(response)
        else:
            await behavior(request, call.context)

    async def _receive(self, call: Call) -> Any:
        """The only request. Raises BodyTooSlow, EmptyBody."""
        timeout = self._settings.body_timeout
        crowded_timeout = min(timeout, CROWDED_TIMEOUT)
        if self._receiving.locked():  # others need a place
            for limit, started in self._arriving.items():
                if not limit.expired():
                    limit.reschedule(started + crowded_timeout)
            self._arriving.clear()
        async with self._receiving:
            crowded = self._receiving.locked()
            try:
                async with asyncio.timeout(crowded_timeout if crowded else timeout) as limit:
                    if not crowded:
                        self._arriving[limit] = asyncio.get_running_loop().time()
                    data = await call.context.read()
            except TimeoutError:
                raise BodyTooSlow("the message took too long to arrive") from None
            finally:
                self._arriving.pop(limit, None)
        if data is grpc.aio.EOF:
            raise EmptyBody("the call has no message")
        return await self._decode(call, data)

    async def _receive_stream(self, call: Call) -> AsyncIterator[Any]:
        while (data := await self._next(call)) is not grpc.aio.EOF:
            yield await self._decode(call, data)

    async def _next(self, call: Call) -> Any:
        """The next message of a stream, or EOF. Raises BodyTooSlow, and NotReady while the server stops."""
        stopping, timeout = self._state.stopping, self._settings.keep_alive
        read, stop = asyncio.ensure_future(call.context.read()), asyncio.ensure_future(stopping.wait())
        try:
            if not stopping.is_set():
                await asyncio.wait({read, stop}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if stopping.is_set():
                await asyncio.wait({read}, timeout=max(0.0, self._state.stop_reading_at - time.monotonic()))
            if read.done():
                return read.result()
        finally:
            read.cancel()
            stop.cancel()
        if stopping.is_set():
            raise NotReady("the service is stopping")
        raise BodyTooSlow(f"the stream has sent no request for {timeout:g} s")

    async def _decode(self, call: Call, data: bytes) -> Any:
        """Raises MalformedBody, InvalidRequest, BodyTooLarge."""
        call.size += len(data)
        limit = self._settings.max_upload_bytes
        takes_pictures = call.method in (INFER, STREAM_INFER)
        return await decode(data, call.handler.request_deserializer, limit, self._uploads if takes_pictures else None)
