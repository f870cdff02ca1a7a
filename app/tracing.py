"""OpenTelemetry traces: a span for each request with its stages, and one for each batch, sent to an OTLP collector.

Imported only if OpenTelemetry's environment variables ask for traces. Spans are made from times that the service
measures anyway, after the response has been sent. A thread of the SDK exports them.
"""

import asyncio
import importlib.metadata
import logging
import os
import threading
import time
from collections.abc import Iterable, Sequence
from contextvars import ContextVar, Token
from weakref import WeakKeyDictionary

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from app.errors import StartError
from app.inference.batching.requests import Answer, Batch, Outcome
from app.inference.model_handle import Model, ModelHandle
from app.inference.scores import Scores
from app.metrics import Metrics

SERVICE_NAME = "fashion-googlenet"
"""The `service.name` unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES gives another."""

EXPORT_PROTOCOL = "http/protobuf"
"""The only OTLP protocol that the extra `tracing` installs."""

MAX_PATH_LENGTH = 256
"""Characters of a request's path that a span keeps."""

FLUSH_TIMEOUT = 1.0
"""Seconds for exporting the last spans when the service stops."""

PROPAGATOR = TraceContextTextMapPropagator()

_current: "ContextVar[RequestTrace | None]" = ContextVar("request_trace", default=None)
"""The trace of the request that runs in this context."""


class Tracing:
    """Starts the traces of requests and exports them. One for each application that exports traces.

    Raises StartError if OTEL_EXPORTER_OTLP_PROTOCOL asks for a protocol that is not installed.
    """

    def __init__(self, model: ModelHandle, metrics: Metrics) -> None:
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        if protocol not in (None, "", EXPORT_PROTOCOL):
            raise StartError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: only {EXPORT_PROTOCOL} is supported")
        self._model, self._metrics = model, metrics
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._tracers = ModelTracers(model.current, self._processor)
        self._log_filter = TraceIdFilter()
        self._handlers = list(logging.getLogger().handlers)
        for handler in self._handlers:
            handler.addFilter(self._log_filter)
        metrics.exemplar = _exemplar

    def start(self, scope: Scope) -> "RequestTrace":
        """The trace of an HTTP request, a part of its caller's trace if it has a valid traceparent header."""
        if self._tracers.model is not self._model.current:
            self._tracers = ModelTracers(self._model.current, self._processor)
        attributes = {
            "http.request.method": scope["method"],
            "url.path": scope["path"][:MAX_PATH_LENGTH],
            "url.scheme": scope.get("scheme", "http"),
        }
        span = self._tracers.requests.start_span(
            scope["method"], _caller(scope["headers"]), SpanKind.SERVER, attributes
        )
        return RequestTrace(self._tracers, span)

    def decoded(self, started: float, ended: float) -> None:
        """A picture of the current request was decoded and preprocessed; time.monotonic() seconds."""
        if trace := _current.get():
            trace.decodes.append((started, ended))

    def answered(self, outcomes: Iterable[Outcome[Scores]]) -> None:
        """Pictures of the current request have come back from the engine."""
        if trace := _current.get():
            trace.batches.update(
                (visit, None) for each in outcomes if isinstance(each, Answer) for visit in each.visits
            )

    async def stop(self) -> None:
        """Exports the remaining spans, for at most FLUSH_TIMEOUT seconds."""
        self._metrics.exemplar = None
        for handler in self._handlers:
            handler.removeFilter(self._log_filter)
        thread = threading.Thread(target=self._processor.shutdown, name="flush-traces", daemon=True)
        thread.start()  # a daemon: a collector that does not answer must not keep the process from ending
        await asyncio.to_thread(thread.join, FLUSH_TIMEOUT)


class ModelTracers:
    """The tracers while one model is served: its name, version and engine are in the resource of every span.

    A batch is recorded if one of its requests is. OTEL_TRACES_SAMPLER decides on requests alone.
    """

    def __init__(self, model: Model, processor: BatchSpanProcessor) -> None:
        self.model = model
        checkpoint, engine = model
        version = importlib.metadata.version("fashion-googlenet")
        own: dict[str, str | int] = {
            "service.name": SERVICE_NAME,
            "service.version": version,
            "process.pid": os.getpid(),
            "googlenet.model.name": checkpoint.metadata.name,
            "googlenet.model.version": checkpoint.version[:12],
            "googlenet.engine.name": engine.name,
            "googlenet.engine.device": engine.device,
            "googlenet.engine.precision": engine.precision,
        }
        resource = Resource.create().merge(Resource(own)).merge(OTELResourceDetector().detect())

        def tracer(sampler: Sampler | None) -> Tracer:
            provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
            provider.add_span_processor(processor)
            return provider.get_tracer("app.tracing", version)

        self.requests, self._batches = tracer(None), tracer(ALWAYS_ON)
        self._exported: WeakKeyDictionary[Batch, SpanContext] = WeakKeyDictionary()

    def batch(self, batch: Batch, clock_offset: int) -> SpanContext:
        """The batch's span, which the first of its requests exports. Called in the event loop."""
        if batch not in self._exported:
            attributes = {"googlenet.batch.pictures": batch.size}
            started = _nanoseconds(batch.started, clock_offset)
            span = self._batches.start_span("batch", Context(), attributes=attributes, start_time=started)
            span.end(_nanoseconds(batch.started + batch.seconds, clock_offset))
            self._exported[batch] = span.get_span_context()
        return self._exported[batch]


class RequestTrace:
    """The server span of one request, and what its child spans are made of. Must be ended by `end`."""

    def __init__(self, tracers: ModelTracers, span: Span) -> None:
        self._tracers, self._span = tracers, span
        context = span.get_span_context()
        self.trace_id, span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        self.traceparent = f"00-{self.trace_id}-{span_id}-{context.trace_flags:02x}".encode()
        """The response's header (W3C Trace Context)."""
        self.exemplar = {"trace_id": self.trace_id, "span_id": span_id} if span.is_recording() else None
        """Labels for the histograms; None if the trace is not sampled."""
        self.decodes: list[tuple[float, float]] = []
        self.batches: dict[tuple[float, Batch], None] = {}
        """Each batch that pictures were in, and when they were submitted; in order."""
        self.ended = False
        self._token: Token[RequestTrace | None] = _current.set(self)

    def end(self, method: str, route: str, status: int) -> None:
        """The response has been sent. Exports the spans once the event loop has written it."""
        self.ended = True
        _current.reset(self._token)
        if self._span.is_recording():
            asyncio.get_running_loop().call_soon(self._export, method, route, status, time.time_ns())

    def _export(self, method: str, route: str, status: int, ended: int) -> None:
        clock_offset = time.time_ns() - time.monotonic_ns()
        parent = set_span_in_context(self._span, Context())
        if self.decodes:
            started, decoded = min(start for start, _ in self.decodes), max(end for _, end in self.decodes)
            self._child(parent, "decode", started, decoded, clock_offset, pictures=len(self.decodes))
        for submitted, batch in self.batches:
            links = [Link(self._tracers.batch(batch, clock_offset))]
            self._child(parent, "queue", submitted, batch.started, clock_offset)
            end = batch.started + batch.seconds
            self._child(parent, "inference", batch.started, end, clock_offset, links, batch_size=batch.size)
        if route.startswith("/"):
            self._span.update_name(f"{method} {route}")
            self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(StatusCode.ERROR)
        self._span.end(ended)

    def _child(
        self,
        parent: Context,
        name: str,
        start: float,
        end: float,
        clock_offset: int,
        links: Sequence[Link] = (),
        **attributes: int,
    ) -> None:
        """A stage, from `start` to `end` in time.monotonic() seconds."""
        named = {f"googlenet.{key}": value for key, value in attributes.items()}
        started = _nanoseconds(start, clock_offset)
        span = self._tracers.requests.start_span(name, parent, attributes=named, links=links, start_time=started)
        span.end(_nanoseconds(end, clock_offset))


class TraceIdFilter(logging.Filter):
    """Gives log records of a request the id of its trace, as `trace_id`, which app.logs writes."""

    def filter(self, record: logging.LogRecord) -> bool:
        trace = _current.get()
        if trace is not None and not trace.ended:  # a task that a request has started may outlive it
            record.trace_id = trace.trace_id
        return True


def _exemplar() -> dict[str, str] | None:
    trace = _current.get()
    return trace.exemplar if trace is not None else None


def _caller(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """The span that the request's headers name as its parent; empty if they name none."""
    carrier: dict[str, str] = {}
    for name, value in headers:
        if name in (b"traceparent", b"tracestate"):
            key, text = name.decode(), value.decode("latin-1")
            carrier[key] = f"{carrier[key]},{text}" if key in carrier else text
    return PROPAGATOR.extract(carrier, Context())


def _nanoseconds(seconds: float, clock_offset: int) -> int:
    """time.monotonic() seconds → nanoseconds since the epoch."""
    return int(seconds * 1e9) + clock_offset
