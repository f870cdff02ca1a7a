"""Triton's statistics extension, computed from the figures of GET /metrics. What is not measured is 0."""

from collections import defaultdict
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

REQUEST_TIME = "googlenet_http_request_duration_seconds"


def statistics(metrics: Metrics, name: str, version: str) -> dict[str, Any]:
    """One element of Triton's `model_stats`: the sum over all workers and routes since the start."""
    totals: defaultdict[str, float] = defaultdict(float)
    for sample, labels, value in metrics.samples():
        if not labels:
            totals[sample] = value
        elif labels.get("route") in INFERENCE_ROUTES and "status" in labels:
            outcome = "success" if labels["status"] == "200" else "fail"
            totals[f"{outcome} {sample}"] += value
    return {
        "name": name,
        "version": version,
        "last_inference": int(1000 * totals["googlenet_last_inference_timestamp_seconds"]),
        "inference_count": int(totals["googlenet_batch_pictures_sum"]),
        "execution_count": int(totals["googlenet_batch_pictures_count"]),
        "inference_stats": {
            "success": _duration(totals, f"success {REQUEST_TIME}"),
            "fail": _duration(totals, f"fail {REQUEST_TIME}"),
            "queue": _duration(totals, "googlenet_queue_duration_seconds"),
            "compute_input": _duration(totals, "googlenet_decode_duration_seconds"),
            "compute_infer": _duration(totals, "googlenet_inference_duration_seconds"),
            **{unmeasured: {"count": 0, "ns": 0} for unmeasured in ("compute_output", "cache_hit", "cache_miss")},
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def _duration(totals: defaultdict[str, float], name: str) -> dict[str, int]:
    """Triton's pair of `count` and `ns`, nanoseconds."""
    return {"count": int(totals[f"{name}_count"]), "ns": int(1e9 * totals[f"{name}_sum"])}
