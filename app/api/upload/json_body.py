"""Bodies of JSON, bounded in what becomes of them."""

import json
import re
from typing import Any, NoReturn

from app.errors import InvalidRequest, MalformedBody

INLINE_BYTES = 64 * 1024
"""A longer body is parsed in a thread."""

STRUCTURE, MOST_VALUES = (b"[", b"{", b'"'), 250_000
"""What begins a list, an object or a string, each of which takes many times its bytes in memory; a request of 1,024
pictures' pixels in nested lists has some 100,000."""

BEYOND_ASCII = re.compile(rb"\\u(?!00[0-7])")
"""A character that makes a string, however long, take two or four bytes for each of its characters."""


def parse_object(text: bytes | bytearray) -> dict[str, Any]:
    """Raises MalformedBody, or InvalidRequest for more values than any request has."""
    if sum(map(text.count, STRUCTURE)) > MOST_VALUES:
        raise InvalidRequest(f"the request's JSON has more than {MOST_VALUES} lists, objects and strings")
    try:
        document = json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise MalformedBody(f"the request is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise MalformedBody("the request is not a JSON object")
    return document


def parse_ascii_object(text: bytes) -> dict[str, Any]:
    """As parse_object; of a long one no character takes more than a byte. Raises MalformedBody, InvalidRequest."""
    if len(text) > INLINE_BYTES and (not text.isascii() or BEYOND_ASCII.search(text)):
        raise MalformedBody("the request's JSON is long and has other characters than those of base64")
    return parse_object(text)


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
