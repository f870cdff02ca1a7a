"""Scores → an inference answer of the Open Inference Protocol v2, in JSON and binary."""

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.api.v2.tensors import HEADER_LENGTH, InferRequest, Wanted
from app.inference.scores import Scores


class Writer:
    """For one request to one model."""

    def __init__(self, request: InferRequest, name: str, version: str, classes: Sequence[str]) -> None:
        self.request, self.name, self.version, self.classes = request, name, version, classes

    def __call__(self, scores: Sequence[Scores]) -> tuple[bytes, dict[str, str]]:
        """The body and the headers that describe it."""
        described, parts = [], []
        for wanted in self.request.outputs:
            output, binary = self._output(wanted, scores)
            described.append(output)
            parts.append(binary)
        head: dict[str, Any] = {"model_name": self.name, "model_version": self.version}
        if self.request.id is not None:
            head["id"] = self.request.id
        text = json.dumps({**head, "outputs": described}).encode()
        if not any(wanted.binary for wanted in self.request.outputs):
            return text, {"Content-Type": "application/json"}
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
        return b"".join([text, *parts]), headers

    def _output(self, wanted: Wanted, scores: Sequence[Scores]) -> tuple[dict[str, Any], bytes]:
        """Its description, with its data if that is JSON, and otherwise its data."""
        if wanted.name == "label":
            strings = [self.classes[int(score.probabilities.argmax())] for score in scores]
            return _strings(wanted, [len(scores)], strings)
        values = np.stack([getattr(score, wanted.name) for score in scores]).astype("<f4", copy=False)
        if wanted.classes:
            highest = self._highest(values, wanted.classes)
            return _strings(wanted, [len(scores), len(highest) // len(scores)], highest)
        output: dict[str, Any] = {"name": wanted.name, "datatype": "FP32", "shape": list(values.shape)}
        if not wanted.binary:
            return {**output, "data": values.ravel().tolist()}, b""
        return {**output, "parameters": {"binary_data_size": values.nbytes}}, values.tobytes()

    def _highest(self, values: NDArray[np.float32], count: int) -> list[str]:
        """value:index:label, formatted as Triton does, row by row; asking for more than there are gives all."""
        order = np.argsort(-values, axis=1, kind="stable")[:, :count]
        return [f"{row[i]:f}:{i}:{self.classes[i]}" for row, best in zip(values, order, strict=True) for i in best]


def _strings(wanted: Wanted, shape: list[int], strings: list[str]) -> tuple[dict[str, Any], bytes]:
    output: dict[str, Any] = {"name": wanted.name, "datatype": "BYTES", "shape": shape}
    if not wanted.binary:
        return {**output, "data": strings}, b""
    encoded = b"".join(struct.pack("<I", len(text)) + text for text in (string.encode() for string in strings))
    return {**output, "parameters": {"binary_data_size": len(encoded)}}, encoded
