"""Describes the bodies of the v1 prediction protocol for /openapi.json."""

from typing import Any

from app.api.openapi import ONE_PIXEL_PNG, OPTIONS, TEXT, Responses
from app.api.v1.instances import MAX_KEY, SIGNATURE
from app.api.v1.pixel_lists import SIDES
from app.settings import MAX_PICTURES


def _square(side: int) -> dict[str, Any]:
    number = {"type": "number", "minimum": 0, "maximum": 255}
    pixel = {"anyOf": [number, {"type": "array", "items": number, "minItems": 1, "maxItems": 1}]}
    row = {"type": "array", "items": pixel, "minItems": side, "maxItems": side}
    return {"type": "array", "items": row, "minItems": side, "maxItems": side}


def _object(name: str, value: dict[str, Any]) -> dict[str, Any]:
    key = {"type": ["string", "null"], "maxLength": MAX_KEY, "description": "Repeated in the prediction"}
    properties = {name: value, "key": key}
    return {"type": "object", "properties": properties, "required": [name], "additionalProperties": False}


B64 = {"type": "object", "properties": {"b64": TEXT}, "required": ["b64"]}
PIXELS = [_square(side) for side in SIDES]
PICTURE = {"anyOf": [TEXT, B64, *PIXELS]}
INSTANCE = {"anyOf": [_object("image_bytes", PICTURE), _object("image", PICTURE), _object("b64", TEXT), TEXT, *PIXELS]}

PREDICT_JSON = {
    "type": "object",
    "required": ["instances"],
    "additionalProperties": False,
    "properties": {
        "instances": {"type": "array", "items": INSTANCE, "minItems": 1, "maxItems": MAX_PICTURES},
        "parameters": {"type": ["object", "null"], "properties": OPTIONS, "additionalProperties": False},
        "signature_name": {"enum": [SIGNATURE]},
    },
    "example": {"instances": [{"image_bytes": {"b64": ONE_PIXEL_PNG}}]},
}
PREDICT_BODY = {"required": True, "content": {"application/json": {"schema": PREDICT_JSON}}}

PREDICTIONS: Responses = {
    200: {
        "description": "One prediction for each instance, in order",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["predictions"],
                    "properties": {
                        "predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}
                    },
                }
            }
        },
    }
}
