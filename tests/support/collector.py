"""An OTLP collector: takes spans over HTTP and keeps them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.waiting import wait_until


@dataclass
class Received:
    """A span as it arrived, with its attributes and those of its resource."""

    span: Span
    attributes: dict[str, Any]
    resource: dict[str, Any]

    @property
    def milliseconds(self) -> float:
        return (self.span.end_time_unix_nano - self.span.start_time_unix_nano) / 1e6


@dataclass
class Collector:
    """`endpoint` is the value for OTEL_EXPORTER_OTLP_ENDPOINT."""

    endpoint: str
    spans: list[Received]

    def trace(self, trace_id: str) -> dict[str, list[Received]]:
        """By name; waits for the trace's server span, which is sent last."""

        def found() -> list[Received]:
            return [each for each in list(self.spans) if each.span.trace_id.hex() == trace_id]

        wait_until(lambda: any(each.span.kind == Span.SPAN_KIND_SERVER for each in found()))
        names: dict[str, list[Received]] = {}
        for each in found():
            names.setdefault(each.span.name, []).append(each)
        return names


@contextmanager
def run_collector() -> Iterator[Collector]:
    spans: list[Received] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = plain(each.resource.attributes)
                spans.extend(
                    Received(s, plain(s.attributes), resource) for part in each.scope_spans for s in part.spans
                )
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Collector(f"http://127.0.0.1:{server.server_port}", spans)
        finally:
            server.shutdown()
            thread.join()


def plain(attributes: "list[KeyValue] | Any") -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
