"""Parses an inference request's JSON and binary tensors into pictures.

The Open Inference Protocol v2 (kserve/open-inference-protocol, inference_rest.md) with Triton's extensions
binary_tensor_data and classification. Binary `pixels` are views into the body, not copies.
"""

import base64
import binascii
import reprlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.api.upload.json_body import parse_object
from app.errors import InvalidRequest, MalformedBody, TooManyPictures
from model.preprocess import SIZE

HEADER_LENGTH = "Inference-Header-Content-Length"

INPUTS: dict[str, tuple[str, tuple[int, ...]]] = {"image": ("BYTES", ()), "pixels": ("UINT8", (SIZE, SIZE))}
"""Name → datatype and shape of one picture: a file in any supported format, or the network's input."""

OUTPUTS = ("probabilities", "logits", "label")

NO_SHARED_MEMORY = "shared memory is not supported"

Tensor = NDArray[np.uint8] | list[bytes]
"""The pictures of one input: uint8 [n,96,96], or n files."""

MAX_ID = 1024
"""Characters of a request's id, which the answer repeats."""


@dataclass(frozen=True)
class RequestedOutput:
    """An output that the request asks for."""

    name: str
    binary: bool
    top_classes: int = 0
    """Triton's classification: the number of highest values to return with their labels; 0 returns the tensor."""


@dataclass(frozen=True)
class InferRequest:
    """A parsed request, with its tensors in the order of its inputs."""

    id: str | None
    tensors: list[Tensor]
    outputs: list[RequestedOutput]


def parse_infer_request(body: bytearray, header_length: str | None, max_pictures: int) -> InferRequest:
    """`header_length` is the header's value: how many bytes of the body are JSON. Without the header all of it is JSON.

    0 means a raw request: the body is one picture's file. Raises MalformedBody, InvalidRequest, and TooManyPictures
    before the data of more than `max_pictures` pictures is parsed.
    """
    if header_length is None:
        size = len(body)
    elif header_length.isascii() and header_length.isdigit() and len(header_length) < 12:
        size = int(header_length)
    else:
        raise MalformedBody(f"{HEADER_LENGTH} is not a number of bytes")
    if size > len(body):
        raise MalformedBody(f"{HEADER_LENGTH} is {size}, the body has {len(body)} bytes")
    if size == 0 and header_length is not None:
        return InferRequest(None, [[bytes(body)]], [RequestedOutput(name, binary=True) for name in OUTPUTS])
    return parse_document(parse_object(body[:size]), memoryview(body)[size:], max_pictures)


def parse_document(document: dict[str, Any], binary: memoryview, max_pictures: int) -> InferRequest:
    """`document` is the request's JSON, and `binary` the data of its binary tensors.

    Raises InvalidRequest, and TooManyPictures before the data of more than `max_pictures` pictures is parsed.
    """
    request_id = document.get("id")
    if not isinstance(request_id, str | None):
        raise InvalidRequest("id is not a string")
    if len(request_id or "") > MAX_ID:
        raise InvalidRequest(f"id has more than {MAX_ID} characters")
    tensors = _inputs(_objects(document, "inputs"), binary, max_pictures)
    return InferRequest(request_id, tensors, _outputs(document))


def _inputs(inputs: list[dict[str, Any]], binary: memoryview, max_pictures: int) -> list[Tensor]:
    tensors: dict[str, Tensor] = {}
    position = total = 0
    for tensor in inputs:
        name = _name(tensor, "input", INPUTS)
        if name in tensors:
            raise InvalidRequest(f"input {name} is given twice")
        count = _count(name, tensor)
        total += count
        if total > max_pictures:
            raise TooManyPictures(f"{total} pictures in one request; at most {max_pictures}")
        parameters = _parameters(tensor, name)
        size, data = parameters.get("binary_data_size"), tensor.get("data")
        if "shared_memory_region" in parameters:
            raise InvalidRequest(f"input {name}: {NO_SHARED_MEMORY}")
        if (size is None) == (data is None):
            raise InvalidRequest(f"input {name} needs either data or the parameter binary_data_size")
        if size is None:
            tensors[name] = _json_pixels(data, count) if name == "pixels" else _json_files(data, count)
            continue
        if not isinstance(size, int) or not 0 <= size <= len(binary) - position:
            raise InvalidRequest(f"input {name}: binary_data_size is not a number of bytes within the body")
        part, position = binary[position : position + size], position + size
        tensors[name] = _binary_pixels(part, count) if name == "pixels" else _binary_files(part, count)
    if position != len(binary):
        raise InvalidRequest(f"{len(binary) - position} bytes of the body belong to no input")
    if not any(map(len, tensors.values())):
        raise InvalidRequest(f"there is no picture in inputs; they may be {' and '.join(INPUTS)}")
    return list(tensors.values())


def _count(name: str, tensor: dict[str, Any]) -> int:
    """How many pictures the input has, by its shape."""
    datatype, picture = INPUTS[name]
    if tensor.get("datatype") != datatype:
        raise InvalidRequest(f"input {name} has datatype {_quoted(tensor.get('datatype'))}; it must be {datatype}")
    shape = tensor.get("shape")
    valid = isinstance(shape, list) and all(type(size) is int and 0 <= size < 2**64 for size in shape)
    if not isinstance(shape, list) or not valid or len(shape) != 1 + len(picture) or tuple(shape[1:]) != picture:
        expected = ",".join(["n", *map(str, picture)])
        raise InvalidRequest(f"input {name} has shape {_quoted(shape)}; it must be [{expected}]")
    return int(shape[0])


def _binary_pixels(part: memoryview, count: int) -> NDArray[np.uint8]:
    if len(part) != count * SIZE * SIZE:
        raise InvalidRequest(f"input pixels has {len(part)} bytes; its shape needs {count * SIZE * SIZE}")
    return np.frombuffer(part, np.uint8).reshape(count, SIZE, SIZE)


def _binary_files(part: memoryview, count: int) -> list[bytes]:
    """Each file is preceded by its length, four bytes in little-endian order."""
    files: list[bytes] = []
    start = 0
    while start < len(part):
        end = start + 4 + (struct.unpack_from("<I", part, start)[0] if start + 4 <= len(part) else len(part))
        if end > len(part) or len(files) == count:
            raise InvalidRequest(
                f"input image: its bytes are not the {count} elements of its shape, each after its length"
            )
        files.append(bytes(part[start + 4 : end]))
        start = end
    if len(files) != count:
        raise InvalidRequest(f"input image has {len(files)} elements; its shape needs {count}")
    return files


def _json_pixels(data: object, count: int) -> NDArray[np.uint8]:
    """Nested as the shape is, or flat. numpy is not used: it would allocate memory for data that are not numbers."""
    shape = (count, SIZE, SIZE)
    rows: list[Any] = [data]
    if isinstance(data, list) and data and isinstance(data[0], list):
        for length in shape[:-1]:
            if not all(isinstance(row, list) and len(row) == length for row in rows):
                raise InvalidRequest(f"input pixels: data neither has the shape {list(shape)} nor is flat")
            rows = [inner for row in rows for inner in row]
    if not all(isinstance(row, list) for row in rows):
        raise InvalidRequest("input pixels: data is not a list of numbers")
    try:
        values = bytearray().join(map(bytes, rows))
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequest("input pixels: data has values that are not integers from 0 to 255") from None
    if len(values) != count * SIZE * SIZE:
        raise InvalidRequest(f"input pixels: data has {len(values)} values; its shape is {list(shape)}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _json_files(data: object, count: int) -> list[bytes]:
    if not isinstance(data, list) or len(data) != count:
        raise InvalidRequest(f"input image: data is not a list of {count} strings, as its shape says")
    return [_from_base64(i, text) for i, text in enumerate(data)]


def _from_base64(index: int, text: object) -> bytes:
    try:
        if not isinstance(text, str):
            raise ValueError("not a string")
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise InvalidRequest(f"image[{index}]: in JSON, a picture's file is a string in base64") from None


def _outputs(document: dict[str, Any]) -> list[RequestedOutput]:
    """If the request names none: all outputs."""
    binary = _flag(_parameters(document, "the request"), "binary_data_output", default=False)
    outputs = _objects(document, "outputs") if document.get("outputs") is not None else []
    requested: dict[str, RequestedOutput] = {}
    for output in outputs:
        name = _name(output, "output", OUTPUTS)
        if name in requested:
            raise InvalidRequest(f"output {name} is asked for twice")
        parameters = _parameters(output, name)
        classes = parameters.get("classification", 0)
        if type(classes) is not int or classes < 0:
            raise InvalidRequest(f"output {name}: classification is not a number of classes")
        if classes and name == "label":
            raise InvalidRequest("output label: classification needs numbers; ask for it on probabilities or logits")
        if "shared_memory_region" in parameters:
            raise InvalidRequest(f"output {name}: {NO_SHARED_MEMORY}")
        requested[name] = RequestedOutput(name, _flag(parameters, "binary_data", default=binary), classes)
    return list(requested.values()) or [RequestedOutput(name, binary) for name in OUTPUTS]


def _objects(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    values = document.get(key)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InvalidRequest(f"{key} is not a list of objects")
    return values


def _name(tensor: dict[str, Any], kind: str, known: Sequence[str] | Mapping[str, object]) -> str:
    name = tensor.get("name")
    if not isinstance(name, str) or name not in known:
        raise InvalidRequest(f"there is no {kind} {_quoted(name)}; there are {', '.join(known)}")
    return name


def _parameters(holder: dict[str, Any], name: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidRequest(f"{name}: parameters is not an object")
    return parameters


def _flag(parameters: dict[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"the parameter {name} is not a boolean")
    return value


def _quoted(value: object) -> str:
    """The value as it was sent, short enough for an error message."""
    return f"{reprlib.repr(value)[:60]}"
