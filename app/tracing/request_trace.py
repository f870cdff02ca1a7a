"""The trace of one request: its server span, the spans of its stages, and links to its batches.

After the response, the spans are made from times that the service measures anyway.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar

from opentelemetry.trace import Link, SpanContext, SpanKind

from app.inference.batching.requests import Batch
from app.tracing.spans import FAILED, UNSET, SpanFactory

current_trace: "ContextVar[RequestTrace | None]" = ContextVar("request_trace", default=None)
"""The trace of the request that runs in this context."""


class RequestTrace:
    """The server span of one request, and the times of its stages. Must be ended by `end`."""

    def __init__(
        self,
        spans: SpanFactory,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: dict[str, str | int],
    ) -> None:
        self._spans, self._context, self._parent, self._attributes = spans, context, parent, attributes
        self._started = time.time_ns()
        self._clock_offset = self._started - time.monotonic_ns()
        self.trace_id, span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        self.traceparent = f"00-{self.trace_id}-{span_id}-{context.trace_flags:02x}".encode()
        """The response's header (W3C Trace Context)."""
        self.exemplar = {"trace_id": self.trace_id, "span_id": span_id} if context.trace_flags.sampled else None
        """Labels for the histograms; None if the trace is not sampled."""
        self.decodes: list[tuple[float, float]] = []
        self.batches: dict[tuple[float, Batch], None] = {}
        """When pictures were submitted and the batch that they were in; each once, in order."""
        self.ended = False
        self._token = current_trace.set(self)

    def end(self, method: str, route: str, status: int) -> None:
        """The request has been answered. Exports the spans once the event loop has written the response."""
        self.ended = True
        current_trace.reset(self._token)
        if self._context.trace_flags.sampled:
            asyncio.get_running_loop().call_soon(self._export, method, route, status, time.time_ns())

    def _export(self, method: str, route: str, status: int, ended: int) -> None:
        if self.decodes:
            started, decoded = min(start for start, _ in self.decodes), max(end for _, end in self.decodes)
            self._export_stage("decode", self._times(started, decoded), {"googlenet.pictures": len(self.decodes)})
        for submitted, batch in self.batches:
            self._export_stage("queue", self._times(submitted, batch.started), {})
            times = self._times(batch.started, batch.started + batch.seconds)
            link = self._spans.batch(batch, times)
            self._export_stage("inference", times, {"googlenet.batch_size": batch.size}, [link])
        self._attributes["http.response.status_code"] = status
        name = method
        if route.startswith("/"):
            name = f"{method} {route}"
            self._attributes["http.route"] = route
        if failed := status >= 500:
            self._attributes["error.type"] = str(status)
        self._spans.export(
            name,
            self._context,
            self._parent,
            (self._started, ended),
            self._attributes,
            kind=SpanKind.SERVER,
            status=FAILED if failed else UNSET,
        )

    def _export_stage(
        self, name: str, times: tuple[int, int], attributes: Mapping[str, int], links: Sequence[Link] = ()
    ) -> None:
        context = self._spans.context(self._context.trace_id, trace_state=self._context.trace_state)
        self._spans.export(name, context, self._context, times, attributes, links)

    def _times(self, start: float, end: float) -> tuple[int, int]:
        """time.monotonic() seconds → nanoseconds since the epoch."""
        return int(start * 1e9) + self._clock_offset, int(end * 1e9) + self._clock_offset
