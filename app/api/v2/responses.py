"""Encodes the answer to an inference request of the Open Inference Protocol v2, in JSON and binary."""

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.api.v2.tensors import HEADER_LENGTH, InferRequest, RequestedOutput
from app.inference.scores import Scores

Output = tuple[dict[str, Any], bytes]
"""An output's JSON, and its binary data; the latter is empty if the JSON contains the data."""


def encode_response(
    request: InferRequest, name: str, version: str, classes: Sequence[str], scores: Sequence[Scores]
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers that describe it. `scores` has one element for each picture of the request."""
    outputs = encode_outputs(request, classes, scores)
    document: dict[str, Any] = {"model_name": name, "model_version": version}
    if request.id is not None:
        document["id"] = request.id
    text = json.dumps({**document, "outputs": [output for output, _ in outputs]}).encode()
    if not any(requested.binary for requested in request.outputs):
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return b"".join([text, *(binary for _, binary in outputs)]), headers


def encode_outputs(request: InferRequest, classes: Sequence[str], scores: Sequence[Scores]) -> list[Output]:
    """The requested outputs. `scores` has one element for each picture of the request."""
    return [_encode_output(requested, classes, scores) for requested in request.outputs]


def _encode_output(requested: RequestedOutput, classes: Sequence[str], scores: Sequence[Scores]) -> Output:
    if requested.name == "label":
        labels = [classes[score.class_id] for score in scores]
        return _encode_strings(requested, [len(scores)], labels)
    values = np.stack([getattr(score, requested.name) for score in scores]).astype("<f4", copy=False)
    if requested.top_classes:
        entries = _top_classes(values, requested.top_classes, classes)
        return _encode_strings(requested, [len(scores), len(entries) // len(scores)], entries)
    output: dict[str, Any] = {"name": requested.name, "datatype": "FP32", "shape": list(values.shape)}
    if not requested.binary:
        return {**output, "data": values.ravel().tolist()}, b""
    return {**output, "parameters": {"binary_data_size": values.nbytes}}, values.tobytes()


def _top_classes(values: NDArray[np.float32], count: int, classes: Sequence[str]) -> list[str]:
    """value:index:label as Triton formats it, row by row. If there are fewer than `count` classes, all of them."""
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return [f"{row[i]:f}:{i}:{classes[i]}" for row, best in zip(values, order, strict=True) for i in best]


def _encode_strings(requested: RequestedOutput, shape: list[int], strings: list[str]) -> Output:
    output: dict[str, Any] = {"name": requested.name, "datatype": "BYTES", "shape": shape}
    if not requested.binary:
        return {**output, "data": strings}, b""
    encoded = b"".join(struct.pack("<I", len(text)) + text for text in (string.encode() for string in strings))
    return {**output, "parameters": {"binary_data_size": len(encoded)}}, encoded
