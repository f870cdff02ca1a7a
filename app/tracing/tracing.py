"""Starts the trace of each request and exports the spans to an OTLP collector, in a thread of OpenTelemetry's SDK."""

import asyncio
import logging
import os
import threading
from collections.abc import Iterable

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from app.errors import StartError
from app.inference.batching.requests import Answer, Outcome
from app.inference.model_handle import ModelHandle
from app.inference.scores import Scores
from app.metrics import Metrics
from app.tracing.request_trace import RequestTrace, current_trace
from app.tracing.spans import SpanFactory

EXPORT_PROTOCOL = "http/protobuf"
"""The only OTLP protocol that the extra `tracing` installs."""

MAX_PATH_LENGTH = 256
"""Characters of a request's path that a span keeps."""

FLUSH_TIMEOUT = 1.0
"""Seconds for exporting the last spans when the service stops."""

PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Starts the traces of requests and exports them. One for each application that exports traces.

    Raises StartError if OTEL_EXPORTER_OTLP_PROTOCOL asks for a protocol that is not installed.
    """

    def __init__(self, model: ModelHandle, metrics: Metrics) -> None:
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        if protocol not in (None, "", EXPORT_PROTOCOL):
            raise StartError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: only {EXPORT_PROTOCOL} is supported")
        self._model, self._metrics = model, metrics
        provider = TracerProvider(shutdown_on_exit=False)
        self._sampler, self._ids = provider.sampler, provider.id_generator  # as the environment variables say
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._spans = SpanFactory(model.current, self._ids, self._processor)
        self._log_filter = TraceIdFilter()
        self._handlers = list(logging.getLogger().handlers)
        for handler in self._handlers:
            handler.addFilter(self._log_filter)
        metrics.exemplar = _exemplar

    def start(self, scope: Scope) -> RequestTrace:
        """The trace of an HTTP request, a part of its caller's trace if it has a valid traceparent header."""
        if self._spans.model is not self._model.current:
            self._spans = SpanFactory(self._model.current, self._ids, self._processor)
        attributes: dict[str, str | int] = {
            "http.request.method": scope["method"],
            "url.path": scope["path"][:MAX_PATH_LENGTH],
            "url.scheme": scope.get("scheme", "http"),
        }
        caller = _caller(scope["headers"])
        parent = get_current_span(caller).get_span_context()
        trace_id = parent.trace_id if parent.is_valid else self._ids.generate_trace_id()
        result = self._sampler.should_sample(caller, trace_id, scope["method"], SpanKind.SERVER, attributes, ())
        sampled: bool = result.decision.is_sampled()  # type: ignore[no-untyped-call]
        context = self._spans.context(trace_id, sampled, result.trace_state)
        return RequestTrace(self._spans, context, parent if parent.is_valid else None, attributes)

    def decoded(self, started: float, ended: float) -> None:
        """A picture of the current request was decoded and preprocessed; time.monotonic() seconds."""
        if trace := current_trace.get():
            trace.decodes.append((started, ended))

    def answered(self, outcomes: Iterable[Outcome[Scores]]) -> None:
        """Pictures of the current request have come back from the engine."""
        if trace := current_trace.get():
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


class TraceIdFilter(logging.Filter):
    """Gives log records of a request the id of its trace, as `trace_id`, which app.logs writes."""

    def filter(self, record: logging.LogRecord) -> bool:
        trace = current_trace.get()
        if trace is not None and not trace.ended:  # a task that a request has started may outlive it
            record.trace_id = trace.trace_id
        return True


def _exemplar() -> dict[str, str] | None:
    trace = current_trace.get()
    return trace.exemplar if trace is not None else None


def _caller(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """The span that the request's headers name as its parent; empty if they name none."""
    carrier: dict[str, str] = {}
    for name, value in headers:
        if name in (b"traceparent", b"tracestate"):
            key, text = name.decode(), value.decode("latin-1")
            carrier[key] = f"{carrier[key]},{text}" if key in carrier else text
    return PROPAGATOR.extract(carrier, Context())
