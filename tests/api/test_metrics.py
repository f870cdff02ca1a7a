"""GET /metrics: everything that is to be watched is there, under names that Prometheus' own tool finds good."""

import dataclasses
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Server, run_server
from prometheus_client.parser import text_string_to_metric_families

from model.checkpoint import Checkpoint

PICTURES = 3
REASONS = {"rejected", "expired", "abandoned", "failed"}


def scrape(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """(name, labels) → value."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(client: httpx.Client, name: str, /, **labels: str) -> float:
    return scrape(client)[name, frozenset(labels.items())]


@pytest.fixture(scope="module", params=[1, 2])
def used(request: pytest.FixtureRequest, boot: bytes) -> Iterator[Server]:
    """A service of one and of two workers that has classified a picture PICTURES times and refused one."""
    with run_server(GOOGLENET_WORKERS=str(request.param)) as server:
        with server.client() as client:
            for _ in range(PICTURES):
                assert client.post("/predict", files={"file": boot}).status_code == 200
            assert client.post("/predict", files={"file": b"no picture"}).status_code == 415
        yield server


def test_everything_that_happened_is_counted(used: Server) -> None:
    with used.client() as client:
        model = client.get("/health").json()["model"]
        engine = client.get("/health").json()["engine"]
        for name in ("googlenet_http_requests_total", "googlenet_http_request_duration_seconds_count"):
            assert value(client, name, route="/predict", status="200") == PICTURES
            assert value(client, name, route="/predict", status="415") == 1
        assert value(client, "googlenet_decode_duration_seconds_count") == PICTURES
        assert value(client, "googlenet_queue_duration_seconds_count") == PICTURES
        assert value(client, "googlenet_inference_duration_seconds_sum") > 0
        batches = value(client, "googlenet_batch_pictures_count")
        assert batches == value(client, "googlenet_inference_duration_seconds_count") > PICTURES  # and the probe's
        assert value(client, "googlenet_batch_pictures_sum") == batches
        assert value(client, "googlenet_queue_pictures") == 0
        assert value(client, "googlenet_queue_limit_pictures") >= 256
        assert value(client, "googlenet_engine_restarts_total") == 0
        assert value(client, "googlenet_batch_splits_total") == 0
        assert {reason: value(client, "googlenet_pictures_dropped_total", reason=reason) for reason in REASONS} == (
            dict.fromkeys(REASONS, 0)
        )
        assert value(client, "googlenet_predictions_total", label="Ankle boot") == PICTURES
        assert value(client, "googlenet_prediction_confidence_ratio_bucket", le="0.2") == 0
        assert value(client, "googlenet_prediction_confidence_ratio_count") == PICTURES
        assert value(client, "googlenet_out_of_distribution_total") == 0
        labels = {"name": model["name"], "version": model["version"], "engine": engine["name"]}
        assert value(client, "googlenet_model_info", **labels, device="cpu", precision=engine["precision"]) == 1


def test_a_class_may_have_the_name_of_a_reason(checkpoint: Checkpoint, tmp_path: Path, boot: bytes) -> None:
    """Reasons why a picture has no answer."""
    classes = tuple("failed" if name == "Ankle boot" else name for name in checkpoint.metadata.classes)
    metadata = dataclasses.replace(checkpoint.metadata, classes=classes)
    dataclasses.replace(checkpoint, metadata=metadata).save(tmp_path / "own.safetensors")
    settings = {"GOOGLENET_CHECKPOINT": str(tmp_path / "own.safetensors"), "GOOGLENET_DEVICE": "cpu"}
    with run_server(**settings) as server, server.client() as client:
        assert client.post("/predict", files={"file": boot}).json()["label"] == "failed"
        assert value(client, "googlenet_pictures_dropped_total", reason="failed") == 0
        assert value(client, "googlenet_predictions_total", label="failed") == 1


def test_the_process_is_shown_where_there_is_one(used: Server, request: pytest.FixtureRequest) -> None:
    """Of several workers the figures of the one that is asked would say nothing."""
    with used.client() as client:
        found = [name for name, _ in scrape(client) if name == "process_resident_memory_bytes"]
        assert len(found) == (1 if request.node.callspec.params["used"] == 1 else 0)
        if found:
            resident = Path(f"/proc/{used.process.pid}/statm").read_text().split()[1]
            assert value(client, *found) == pytest.approx(4096 * int(resident), rel=0.2)


def test_prometheus_finds_the_names_good(used: Server, needs: Callable[[bool, str], None]) -> None:
    needs(shutil.which("promtool") is not None, "prometheus")
    with used.client() as client:
        text = client.get("/metrics").text
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
    broken = text.replace("googlenet_engine_restarts_total", "googlenet_engineRestarts")
    assert subprocess.run(["promtool", "check", "metrics"], input=broken, capture_output=True, text=True).returncode


def test_a_cpu_has_no_device_memory(used: Server) -> None:
    with used.client() as client:
        assert not [name for name, _ in scrape(client) if name.startswith("googlenet_device_memory")]


def test_the_devices_memory_is_shown_until_it_dies(tmp_path: Path) -> None:
    trigger = tmp_path / "gone"
    with (
        run_server(GOOGLENET_ENGINE="support.faults:WithMemory", FAULT=str(trigger)) as server,
        server.client() as client,
    ):
        for what, gigabytes in (("allocated", 1), ("used", 3), ("limit", 80)):
            assert value(client, f"googlenet_device_memory_{what}_bytes", device="cpu") == gigabytes * 2**30
        trigger.touch()
        assert client.get("/metrics").status_code == 200
    assert any("the device is gone" in line for line in server.log)  # which is complete once it has ended
