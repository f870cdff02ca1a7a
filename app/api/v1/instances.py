"""Parses the JSON of a v1 prediction request into pictures and options.

An instance is a picture's file in base64, in any of the ways that clients of TensorFlow Serving and KServe write it, or
its pixels as nested lists. The request's options may be in `parameters`, as Vertex AI has them.
"""

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from PIL import Image

from app.api.schemas import Options
from app.api.upload.base64_text import decode_base64
from app.api.upload.json_body import parse_ascii_object
from app.api.upload.options import merge_options
from app.api.v1.pixel_lists import to_pixels
from app.errors import BodyTooLarge, InvalidRequest, TooManyPictures
from app.settings import MAX_PICTURES
from model.preprocess import SIZE, Preprocessed, preprocess

FIELDS = ("instances", "parameters", "signature_name")

SIGNATURE = "serving_default"
"""TensorFlow Serving's name for a model's only function."""

PICTURE_FIELDS = ("image_bytes", "image", "b64")
"""Fields of an instance that may hold its picture."""

KEY = "key"
"""A field of an instance that is repeated in its prediction, as in KServe's examples."""

MAX_KEY = 256
"""Characters."""

MAX_COMMAS = MAX_PICTURES * (SIZE * SIZE + 1)
"""In one body, which bounds its numbers: each can take ten times its bytes in memory."""


@dataclass(frozen=True)
class Instance:
    """A picture, as a file or preprocessed from its pixels, and what is repeated in its prediction."""

    picture: bytes | Preprocessed
    key: str | None = None


def parse_predict_request(body: bytes, request: Request, max_bytes: int) -> tuple[list[Instance], Options]:
    """The instances, whose files have at most `max_bytes` bytes together, and the options of query and body together.

    Raises MalformedBody, InvalidRequest, TooManyPictures, BodyTooLarge, RequestValidationError.
    """
    if body.count(b",") > MAX_COMMAS:
        raise InvalidRequest(
            f"the request's JSON has more values than {MAX_PICTURES} pictures of {SIZE}×{SIZE} numbers"
        )
    document = parse_ascii_object(body)
    if unknown := sorted(document.keys() - set(FIELDS)):
        raise InvalidRequest(f"there is no {unknown[0][:60]!r} in a request; there are {', '.join(FIELDS)}")
    if document.get("signature_name", SIGNATURE) != SIGNATURE:
        raise InvalidRequest(f"signature_name: there is only {SIGNATURE}")
    parameters = document.get("parameters")
    if not isinstance(parameters, dict | None):
        raise InvalidRequest("parameters is not an object")
    options = merge_options(request, parameters or {}, strict=True)
    instances = [_instance(i, value, options) for i, value in enumerate(_values(document))]
    size = sum(len(instance.picture) for instance in instances if isinstance(instance.picture, bytes))
    if size > max_bytes:
        raise BodyTooLarge(f"the pictures have more than {max_bytes} bytes")
    return instances, options


def _values(document: dict[str, Any]) -> list[Any]:
    values = document.get("instances")
    if not isinstance(values, list) or not values:
        raise InvalidRequest("instances is not a list of pictures")
    if len(values) > MAX_PICTURES:
        raise TooManyPictures(f"{len(values)} instances in one request; at most {MAX_PICTURES}")
    return values


def _instance(index: int, value: object, options: Options) -> Instance:
    """Raises InvalidRequest, which names the instance."""
    try:
        if not isinstance(value, dict):
            return Instance(_picture(value, options))
        key, fields = value.get(KEY), value.keys() - {KEY}
        if key is not None and not (isinstance(key, str) and len(key) <= MAX_KEY):
            raise InvalidRequest(f"{KEY} is not a string of at most {MAX_KEY} characters")
        if len(fields) != 1 or not fields <= set(PICTURE_FIELDS):
            raise InvalidRequest(f"an object needs one of {', '.join(PICTURE_FIELDS)}, and may have {KEY}")
        (name,) = fields
        return Instance(_picture(value if name == "b64" else value[name], options), key)
    except InvalidRequest as error:
        error.detail = f"instances[{index}]: {error.detail}"
        raise


def _picture(value: object, options: Options) -> bytes | Preprocessed:
    """A file in base64, a data: URL, {"b64": …} with either, or nested lists of numbers. Raises InvalidRequest.

    Pixels are taken as they are (mode `native`), unless the options name another mode.
    """
    if isinstance(value, list):
        mode = "native" if options.mode == "auto" else options.mode
        return preprocess(Image.fromarray(to_pixels(value)), mode, options.background)
    if isinstance(value, dict):
        value = value.get("b64")
    file = decode_base64(value.encode()) if isinstance(value, str) and value.isascii() else None
    if file is None:
        raise InvalidRequest("a picture is its file in base64, a data: URL, or nested lists of numbers")
    return file
