"""OpenTelemetry traces, as a real OTLP collector receives them: requests, stages, batches, log lines, exemplars."""

import asyncio
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import Server, failed_start, run_server
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.openmetrics import parser
from support.collector import Collector, Received, run_collector
from support.waiting import said, wait_until

from model.checkpoint import Checkpoint

CALLER_TRACE, CALLER_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = ("decode", "queue", "inference")
OPEN_METRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
"""Milliseconds between two exports."""

IN_TIME = 15.0
"""Seconds in which a server ends whose collector does not answer. Its export timeout alone would take 10 and 30."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with run_collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[Server]:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **QUICKLY}
    with run_server(GOOGLENET_LOG_FORMAT="json", **environment) as server:
        yield server


def caller(trace_id: str, sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{CALLER_SPAN}-{int(sampled):02x}"}


def returned(answer: httpx.Response) -> tuple[str, str, bool]:
    """Trace id, span id and whether it is sampled, of the response's header."""
    found = re.fullmatch("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", answer.headers["traceparent"])
    assert found
    return found[1], found[2], bool(int(found[3], 16) & 1)


def one(spans: dict[str, list[Received]], name: str) -> Received:
    (span,) = spans[name]
    return span


def test_a_request_continues_its_callers_trace(traced: Server, collector: Collector, boot: bytes) -> None:
    with traced.client() as client:
        answer = client.post("/predict", files={"file": boot}, headers=caller(CALLER_TRACE) | {"tracestate": "shop=7"})
    trace_id, span_id, sampled = returned(answer)
    assert (trace_id, sampled) == (CALLER_TRACE, True)
    server = one(collector.trace(trace_id), "POST /predict")
    assert server.span.span_id.hex() == span_id
    assert server.span.parent_span_id.hex() == CALLER_SPAN
    assert server.span.trace_state == "shop=7"
    assert server.attributes == {
        "http.request.method": "POST",
        "url.path": "/predict",
        "url.scheme": "http",
        "http.route": "/predict",
        "http.response.status_code": 200,
    }


def test_the_stages_are_children_that_take_as_long_as_the_answer_says(
    traced: Server, collector: Collector, boot: bytes
) -> None:
    with traced.client() as client:
        answer = client.post("/predict", files={"file": boot})
    spans = collector.trace(returned(answer)[0])
    server = one(spans, "POST /predict").span
    timing = answer.json()["timing_ms"]
    assert set(spans) == {"POST /predict", *STAGES}
    for name in STAGES:
        stage = one(spans, name)
        assert stage.milliseconds == pytest.approx(timing[name], abs=0.1), name
        assert stage.span.parent_span_id == server.span_id
        assert server.start_time_unix_nano <= stage.span.start_time_unix_nano + 1_000_000
        assert stage.span.end_time_unix_nano <= server.end_time_unix_nano + 1_000_000
    assert sum(one(spans, name).milliseconds for name in STAGES) == pytest.approx(sum(timing.values()), abs=1)


def batch_of(inference: Received, collector: Collector) -> Received:
    (link,) = inference.span.links
    (batch,) = (each for each in list(collector.spans) if each.span.span_id == link.span_id)
    assert batch.span.trace_id == link.trace_id
    assert batch.span.name == "batch"
    return batch


def test_each_request_is_linked_to_its_batch(traced: Server, collector: Collector, boot: bytes) -> None:
    with traced.client() as client:
        answer = client.post("/predict", files={"file": boot})
    inference = one(collector.trace(returned(answer)[0]), "inference")
    batch = batch_of(inference, collector)
    assert batch.attributes == {"googlenet.batch.pictures": 1}
    assert not batch.span.parent_span_id
    assert batch.milliseconds == pytest.approx(inference.milliseconds, abs=0.001)


def test_pictures_of_a_request_share_their_spans(traced: Server, collector: Collector, boot: bytes) -> None:
    with traced.client() as client:
        answer = client.post("/predict/batch", files=[("files", boot)] * 3)
    spans = collector.trace(returned(answer)[0])
    assert one(spans, "decode").attributes == {"googlenet.pictures": 3}
    batches = [batch_of(each, collector) for each in spans["inference"]]
    assert sum(batch.attributes["googlenet.batch.pictures"] for batch in batches) >= 3
    assert len({batch.span.span_id for batch in batches}) == len(batches) == len(spans["queue"])


def test_the_inference_protocol_has_the_stages_too(
    traced: Server, collector: Collector, checkpoint: Checkpoint
) -> None:
    pixels = checkpoint.golden.pixels[:1]
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": list(pixels.shape), "data": np.ravel(pixels).tolist()}
    path = f"/v2/models/{checkpoint.metadata.name}/infer"
    with traced.client() as client:
        answer = client.post(path, json={"inputs": [tensor]})
    assert answer.status_code == 200
    spans = collector.trace(returned(answer)[0])
    assert set(spans) == {"POST /v2/models/{name}/infer", "queue", "inference"}


def test_the_resource_is_the_model(traced: Server, collector: Collector, boot: bytes) -> None:
    with traced.client() as client:
        health = client.get("/health").json()
        answer = client.post("/predict", files={"file": boot})
    spans = collector.trace(returned(answer)[0])
    inference = one(spans, "inference")
    for each in (one(spans, "POST /predict"), inference, batch_of(inference, collector)):
        resource = each.resource
        assert resource["service.name"] == "fashion-googlenet"
        assert resource["googlenet.model.name"] == health["model"]["name"]
        assert resource["googlenet.model.version"] == health["model"]["version"]
        assert {f"googlenet.engine.{name}": health["engine"][name] for name in ("name", "device", "precision")} == (
            {name: value for name, value in resource.items() if name.startswith("googlenet.engine.")}
        )


def test_the_caller_decides_on_sampling(traced: Server, collector: Collector, boot: bytes) -> None:
    unsampled = "1" * 32
    with traced.client() as client:
        answer = client.post("/predict", files={"file": boot}, headers=caller(unsampled, sampled=False))
        sampled = client.post("/predict", files={"file": boot})
    assert returned(answer)[::2] == (unsampled, False)
    collector.trace(returned(sampled)[0])  # spans arrive in their order
    assert unsampled not in {each.span.trace_id.hex() for each in collector.spans}


@pytest.mark.parametrize(
    "header", ["garbage", "00-" + "0" * 32 + f"-{CALLER_SPAN}-01", f"ff-{CALLER_TRACE}-{CALLER_SPAN}-01"]
)
def test_an_invalid_header_starts_a_new_trace(traced: Server, collector: Collector, boot: bytes, header: str) -> None:
    with traced.client() as client:
        answer = client.post("/predict", files={"file": boot}, headers={"traceparent": header})
    assert answer.status_code == 200
    trace_id, _, _ = returned(answer)
    assert trace_id not in header
    assert not one(collector.trace(trace_id), "POST /predict").span.parent_span_id


def test_a_refused_picture(traced: Server, collector: Collector) -> None:
    with traced.client() as client:
        answer = client.post("/predict", files={"file": b"no picture"})
    spans = collector.trace(returned(answer)[0])
    server = one(spans, "POST /predict")
    assert set(spans) == {"POST /predict"}
    assert server.attributes["http.response.status_code"] == 415
    assert server.span.status.code == Status.STATUS_CODE_UNSET


def test_an_unknown_path_is_no_name(traced: Server, collector: Collector) -> None:
    with traced.client() as client:
        answer = client.get("/nowhere/" + "x" * 1000)
    server = one(collector.trace(returned(answer)[0]), "GET")
    assert server.span.kind == Span.SPAN_KIND_SERVER
    assert "http.route" not in server.attributes
    assert server.attributes["url.path"].startswith("/nowhere/xxx")
    assert len(server.attributes["url.path"]) < 1000


def test_a_request_that_fails_is_an_error(collector: Collector, boot: bytes) -> None:
    with run_server(
        GOOGLENET_ENGINE="support.faults:Poisoned", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **QUICKLY
    ) as server:
        with server.client() as client:
            white = {"name": "pixels", "datatype": "UINT8", "shape": [1, 96, 96], "data": [255] * 96 * 96}
            answer = client.post("/v2/models/googlenet-fashion-mnist/infer", json={"inputs": [white]})
        assert answer.status_code == 503
        spans = collector.trace(returned(answer)[0])
        failed = one(spans, "POST /v2/models/{name}/infer")
        assert failed.span.status.code == Status.STATUS_CODE_ERROR
        assert failed.attributes["error.type"] == "503"
        wait_until(lambda: said(server, f"trace_id={returned(answer)[0]}") == 1)  # the log as text


def test_a_rejection_from_the_headers_alone_is_a_span(collector: Collector, boot: bytes, tmp_path: Path) -> None:
    trigger = tmp_path / "trigger"
    settings = {"GOOGLENET_ENGINE": "support.faults:Slow", "FAULT": str(trigger), "GOOGLENET_QUEUE_SIZE": "64"}
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **QUICKLY}
    with run_server(GOOGLENET_MAX_BATCH_SIZE="1", **settings, **traces) as server:

        async def overload() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=httpx.Limits()) as client:
                return await asyncio.gather(*(client.post("/predict", files={"file": boot}) for _ in range(100)))

        trigger.touch()
        refused = [answer for answer in asyncio.run(overload()) if answer.status_code == 503]
        assert refused
        for answer in refused:
            span = one(collector.trace(returned(answer)[0]), "POST /predict")
            assert span.attributes["http.response.status_code"] == 503
            assert span.span.status.code == Status.STATUS_CODE_ERROR


def test_a_new_checkpoint_changes_the_resource_in_each_worker(
    collector: Collector, checkpoint: Checkpoint, boot: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "network.safetensors"
    checkpoint.save(file)
    settings = {"GOOGLENET_ENGINE": "torch", "GOOGLENET_CHECKPOINT": str(file), "GOOGLENET_WORKERS": "2"}
    with run_server(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **settings, **QUICKLY) as server:
        wait_until(lambda: said(server, "startup complete") == 2)
        renamed = dataclasses.replace(checkpoint.metadata, name="another")
        for name, version in ((checkpoint.metadata.name, checkpoint.version[:12]), ("another", "")):
            if name == "another":
                dataclasses.replace(checkpoint, metadata=renamed).save(file)
                server.process.send_signal(signal.SIGHUP)
                wait_until(lambda: said(server, "is served from now on") == 2)
                version = Checkpoint.load(file).version[:12]
            answers = [httpx.post(f"{server.url}/predict", files={"file": boot}, timeout=60) for _ in range(8)]
            for answer in answers:
                spans = collector.trace(returned(answer)[0])
                resources = [each.resource for found in spans.values() for each in found]
                assert {resource["googlenet.model.name"] for resource in resources} == {name}
                assert {resource["googlenet.model.version"] for resource in resources} == {version}


def test_log_lines_have_the_traces_id(traced: Server, boot: bytes) -> None:
    with traced.client() as client:
        answer = client.post("/predict", files={"file": boot}, headers={"X-Request-ID": "traced-1"})
    wait_until(lambda: said(traced, "traced-1") == 1)
    (line,) = (json.loads(line) for line in traced.log if "traced-1" in line)
    assert line["trace_id"] == returned(answer)[0]
    assert not any("trace_id" in json.loads(line) for line in traced.log if "Started server process" in line)


def test_histograms_have_exemplars(traced: Server, boot: bytes) -> None:
    with traced.client() as client:
        answer = client.post("/predict", files={"file": boot})
        metrics = client.get("/metrics", headers=OPEN_METRICS)
    assert metrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    exemplars: dict[str, set[str]] = {}
    for family in parser.text_string_to_metric_families(metrics.text):
        found = {sample.exemplar.labels["trace_id"] for sample in family.samples if sample.exemplar}
        if found:
            exemplars[family.name] = found
    durations = {f"googlenet_{name}_duration_seconds" for name in ("http_request", *STAGES)}
    assert set(exemplars) == durations | {"googlenet_batch_pictures", "googlenet_prediction_confidence_ratio"}
    assert all(returned(answer)[0] in found for found in exemplars.values())


@pytest.mark.parametrize(
    "accept", ["*/*", "text/plain", "text/plain;version=wrong", "text/html, text/plain;version=1.0.0"]
)
def test_metrics_are_plain_text_otherwise(traced: Server, accept: str) -> None:
    with traced.client() as client:
        answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert " # {" not in answer.text
    assert "# EOF" not in answer.text


def test_open_metrics_of_any_version(server: Server) -> None:
    with server.client() as client:
        answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=wrong"})
    assert answer.status_code == 200
    assert answer.text.endswith("# EOF\n")


def test_without_the_variables_nothing_is_traced_or_imported(boot: bytes) -> None:
    with run_server(GOOGLENET_ENGINE="support.faults:ModuleLister") as server:
        with server.client() as client:
            answer = client.post("/predict", files={"file": boot}, headers=caller(CALLER_TRACE))
        assert "traceparent" not in answer.headers
        wait_until(lambda: said(server, "POST /predict 200") == 1)
    assert said(server, "imported: []") > 0
    assert said(server, "imported: [") == said(server, "imported: []")
    assert said(server, "trace_id") == 0


def test_the_check_of_imports_can_fail(collector: Collector) -> None:
    with run_server(
        GOOGLENET_ENGINE="support.faults:ModuleLister", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint
    ) as server:
        with server.client() as client:
            client.get("/health")
        wait_until(lambda: said(server, "imported: ['opentelemetry.sdk', ") > 0)


@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"])
def test_the_standard_variables_switch_it_off(collector: Collector, variable: str) -> None:
    name, _, value = variable.partition("=")
    with (
        run_server(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **{name: value}) as server,
        server.client() as client,
    ):
        assert "traceparent" not in client.get("/health/live").headers


def test_the_standard_variables_name_sampler_service_and_attributes(boot: bytes) -> None:
    """Spans that were not yet exported are sent when the service stops."""
    environment = {
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        "OTEL_SERVICE_NAME": "shop-pictures",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,googlenet.model.name=renamed",
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }
    with run_collector() as own:
        with run_server(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{own.endpoint}/v1/traces", **environment) as server:
            with server.client() as client:
                off = client.post("/predict", files={"file": boot})
                on = client.post("/predict", files={"file": boot}, headers=caller(CALLER_TRACE))
            assert not returned(off)[2]
            assert own.spans == []
        spans = own.trace(returned(on)[0])
        assert {each.span.trace_id.hex() for each in own.spans if each.span.name != "batch"} == {CALLER_TRACE}
        assert sorted(each.span.name for each in own.spans) == ["POST /predict", "batch", *sorted(STAGES)]
    resource = one(spans, "decode").resource
    assert resource["service.name"] == "shop-pictures"
    assert resource["deployment.environment.name"] == "test"
    assert resource["googlenet.model.name"] == "renamed"


@pytest.fixture(params=["closed", "silent"])
def dead_collector(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a port that is closed, or whose connections nobody answers."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if request.param == "silent":
            port.listen()
        yield f"http://127.0.0.1:{port.getsockname()[1]}"


def test_a_dead_collector_neither_slows_nor_fails_anything(dead_collector: str, boot: bytes) -> None:
    with run_server(
        OTEL_EXPORTER_OTLP_ENDPOINT=dead_collector,
        OTEL_BSP_MAX_QUEUE_SIZE="8",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4",
        GOOGLENET_DRAIN_DELAY="0",
        **QUICKLY,
    ) as server:
        with server.client() as client:
            answers = [client.post("/predict", files={"file": boot}) for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        assert max(answer.elapsed.total_seconds() for answer in answers) < 5
        wait_until(lambda: said(server, "Queue full, dropping Span") > 0)
        stopping = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        assert time.monotonic() - stopping < IN_TIME


def test_another_protocol_is_refused() -> None:
    done = failed_start(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert done.returncode == 1
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: only http/protobuf is supported" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_packages_are_named() -> None:
    hidden = "import sys; sys.modules['opentelemetry.sdk'] = None; from app.http.serve import serve; sys.exit(serve())"
    environment = os.environ | {"GOOGLENET_PORT": "0", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", hidden], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "pip install 'fashion-googlenet[tracing]'" in done.stderr
    assert "Traceback" not in done.stderr
