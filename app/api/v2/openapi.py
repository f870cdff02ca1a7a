"""Describes the bodies of the Open Inference Protocol for /openapi.json."""

from app.api.openapi import ONE_PIXEL_PNG
from model.preprocess import SIZE

PARAMETERS = {"type": ["object", "null"]}
INPUT = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"enum": ["image", "pixels"]},
        "shape": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0},
            "description": f"[n] of image, [n, {SIZE}, {SIZE}] of pixels",
        },
        "datatype": {"enum": ["BYTES", "UINT8"]},
        "parameters": PARAMETERS,
        "data": {"type": "array", "description": "Files in base64, or numbers from 0 to 255"},
    },
}
OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"enum": ["probabilities", "logits", "label"]}, "parameters": PARAMETERS},
}

INFER_JSON = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": ["string", "null"]},
        "parameters": PARAMETERS,
        "inputs": {"type": "array", "minItems": 1, "items": INPUT},
        "outputs": {"type": ["array", "null"], "items": OUTPUT},
    },
    "example": {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [ONE_PIXEL_PNG]}]},
}
INFER_BINARY = {
    "type": "string",
    "format": "binary",
    "description": "The same JSON, Inference-Header-Content-Length bytes long, followed by the binary tensors",
}
INFER_BODY = {
    "required": True,
    "content": {"application/json": {"schema": INFER_JSON}, "application/octet-stream": {"schema": INFER_BINARY}},
}
INDEX_BODY = {
    "content": {"application/json": {"schema": {"type": "object", "properties": {"ready": {"type": "boolean"}}}}}
}
