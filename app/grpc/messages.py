"""Decodes gRPC messages within limits, and translates those of an inference to and from the structures of app.api.v2.

The tensors of an inference become the binary tensors of Triton's HTTP extension: the same code checks both.
"""

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from app.api.upload.content_encoding import decompress
from app.api.upload.json_body import INLINE_BYTES
from app.api.upload.memory_budget import UploadBudget
from app.api.v2.responses import encode_outputs
from app.api.v2.tensors import InferRequest, parse_document
from app.errors import BodyTooLarge, InvalidRequest, MalformedBody
from app.inference.scores import Scores

Deserializer = Callable[[bytes], Any]

COMPRESSED = {b"\x1f": "gzip", b"\x78": "deflate"}
"""First byte of a compressed message → its encoding. No request type has a field with such a tag. gRPC's own
decompression is switched off because it has no limit (app.grpc.server)."""

MAX_FIELDS = 100_000
"""Fields of one message, nested ones included. An empty field has two bytes, and takes about a hundred in memory."""

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf's encoding."""

TYPED_CONTENTS = {"BYTES": "bytes_contents", "UINT8": "uint_contents"}
"""Datatype → the field of InferTensorContents that holds it."""


async def decode(data: bytes, deserialize: Deserializer, limit: int, uploads: UploadBudget | None) -> Any:
    """The message that `data` encodes, compressed or not; `limit` is in bytes.

    `uploads` is given for ModelInferRequest, of any size. Other messages have at most INLINE_BYTES.
    Raises BodyTooLarge, MalformedBody, and InvalidRequest if the message has more than MAX_FIELDS fields.
    """
    if encoding := COMPRESSED.get(data[:1]):
        data = await asyncio.to_thread(decompress, data, encoding, limit)
    if len(data) <= INLINE_BYTES:
        return _decode(data, deserialize)
    if uploads is None:
        raise BodyTooLarge(f"a message of this method has at most {INLINE_BYTES} bytes")
    return await uploads.parse_large(_decode_large, data, deserialize)


def _decode(data: bytes, deserialize: Deserializer) -> Any:
    try:
        return deserialize(data)
    except DecodeError:
        raise MalformedBody("the message is not valid protobuf of the method's request type") from None


def _decode_large(data: bytes, deserialize: Deserializer) -> Any:
    """Runs in a thread."""
    fields = _fields(memoryview(data), service_pb2.ModelInferRequest.DESCRIPTOR)
    with suppress(IndexError):  # the message is cut off, which `_decode` reports
        if any(count >= MAX_FIELDS for count, _ in enumerate(fields)):
            raise InvalidRequest(f"the message has more than {MAX_FIELDS} fields")
    return _decode(data, deserialize)


def _fields(data: memoryview, descriptor: Descriptor) -> Iterator[int]:
    """The number of each field in the encoded message, those of nested messages included.

    Ends early at an invalid tag. Raises IndexError if the message ends within a number.
    """
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        yield number
        if wire_type == VARINT:
            _, position = _varint(data, position)
        elif wire_type in (FIXED32, FIXED64):
            position += 4 if wire_type == FIXED32 else 8
        elif wire_type == LENGTH_DELIMITED:
            length, position = _varint(data, position)
            field = descriptor.fields_by_number.get(number)
            if field is not None and field.message_type is not None:
                yield from _fields(data[position : position + length], field.message_type)
            position += length
        else:
            return


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """The number at `position` and the position after it. Raises IndexError."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128 or shift > 63:
            return value, position


def parse_request(message: Any, max_pictures: int) -> InferRequest:
    """Raises InvalidRequest, and TooManyPictures before the data of more than `max_pictures` pictures is parsed."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequest(f"raw_input_contents has {len(raw)} elements, there are {len(message.inputs)} inputs")
    inputs, parts = [], []
    for i, tensor in enumerate(message.inputs):
        parameters = _parameters(tensor)
        if "shared_memory_region" not in parameters:  # whose tensors have no data, and are refused below
            if raw and tensor.HasField("contents"):
                raise InvalidRequest(f"input {tensor.name[:60]!r} has both contents and raw_input_contents")
            parts.append(raw[i] if raw else _typed_contents(tensor))
            parameters["binary_data_size"] = len(parts[-1])
        inputs.append(_tensor(tensor, parameters) | {"datatype": tensor.datatype, "shape": list(tensor.shape)})
    document = {
        "id": message.id,
        "inputs": inputs,
        "outputs": [_tensor(output, _parameters(output) | {"binary_data": True}) for output in message.outputs] or None,
        "parameters": {"binary_data_output": True},
    }
    binary = bytearray().join(parts)  # not bytes: the engines need memory that they could write to
    return parse_document(document, memoryview(binary), max_pictures)


def _tensor(tensor: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"name": tensor.name, "parameters": parameters}


def _parameters(holder: Any) -> dict[str, Any]:
    """Values of any of InferParameter's types, by name."""
    kinds = {name: parameter.WhichOneof("parameter_choice") for name, parameter in holder.parameters.items()}
    return {name: getattr(holder.parameters[name], kind) for name, kind in kinds.items() if kind}


def _typed_contents(tensor: Any) -> bytes:
    """The tensor's binary form from its typed `contents`."""
    field = TYPED_CONTENTS.get(tensor.datatype)
    if field is None or any(known.name != field for known, _ in tensor.contents.ListFields()):
        expected = " or ".join(f"{name} for {datatype}" for datatype, name in TYPED_CONTENTS.items())
        raise InvalidRequest(f"input {tensor.name[:60]!r}: the data has to be in {expected}, or in raw_input_contents")
    values = getattr(tensor.contents, field)
    if field == "bytes_contents":
        return b"".join(part for value in values for part in (struct.pack("<I", len(value)), value))
    try:
        return bytes(values)
    except ValueError:
        raise InvalidRequest(f"input {tensor.name[:60]!r} has values that are not integers from 0 to 255") from None


def encode_response(
    request: InferRequest, name: str, version: str, classes: Sequence[str], scores: Sequence[Scores]
) -> Any:
    """ModelInferResponse with the outputs in raw_output_contents, as Triton answers."""
    response = service_pb2.ModelInferResponse(model_name=name, model_version=version, id=request.id or "")
    for output, data in encode_outputs(request, classes, scores):
        response.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        response.raw_output_contents.append(data)
    return response
