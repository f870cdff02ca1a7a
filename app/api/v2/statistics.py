"""Triton's statistics extension, computed from the figures of GET /metrics. What is not measured is 0."""

from collections.abc import Mapping
from typing import Any

from app.metrics import Metrics

INFERENCE_ROUTES = {
    "/predict",
    "/predict/batch",
    "/explain",
    "/v1/models/{name}:predict",
    "/v1/models/{name}/versions/{version}:predict",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}/infer",
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelStreamInfer",
}
"""Routes whose requests count as inference requests."""

Duration = dict[str, int]
"""Triton's pair of `count` and `ns`, nanoseconds."""


def statistics(metrics: Metrics, name: str, version: str) -> dict[str, Any]:
    """One element of Triton's `model_stats`: the sum over all workers and routes since the start."""
    requests = {"success": {"count": 0, "ns": 0}, "fail": {"count": 0, "ns": 0}}
    totals: dict[str, float] = {}
    for sample, labels, value in metrics.samples():
        if not labels:
            totals[sample] = value
        elif labels.get("route") in INFERENCE_ROUTES and "status" in labels:
            _add(requests["success" if labels["status"] == "200" else "fail"], sample, value)
    return {
        "name": name,
        "version": version,
        "last_inference": int(1000 * totals["googlenet_last_inference_timestamp_seconds"]),
        "inference_count": int(totals["googlenet_batch_pictures_sum"]),
        "execution_count": int(totals["googlenet_batch_pictures_count"]),
        "inference_stats": {
            **requests,
            "queue": _duration(totals, "queue"),
            "compute_input": _duration(totals, "decode"),
            "compute_infer": _duration(totals, "inference"),
            **{unmeasured: {"count": 0, "ns": 0} for unmeasured in ("compute_output", "cache_hit", "cache_miss")},
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def _add(duration: Duration, sample: str, value: float) -> None:
    if sample == "googlenet_http_request_duration_seconds_count":
        duration["count"] += int(value)
    elif sample == "googlenet_http_request_duration_seconds_sum":
        duration["ns"] += int(1e9 * value)


def _duration(totals: Mapping[str, float], stage: str) -> Duration:
    name = f"googlenet_{stage}_duration_seconds"
    return {"count": int(totals[f"{name}_count"]), "ns": int(1e9 * totals[f"{name}_sum"])}
