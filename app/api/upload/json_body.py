"""Parses JSON bodies, with a bound on the memory that the result takes."""

import json
import re
from typing import Any, NoReturn

from app.errors import InvalidRequest, MalformedBody

INLINE_BYTES = 64 * 1024
"""Larger bodies are parsed in a thread."""

STRUCTURE = (b"[", b"{", b'"')
"""Beginnings of lists, objects and strings, each of which takes many times its bytes in memory."""

MAX_VALUES = 250_000
"""Lists, objects and strings in one body. The pixels of 1,024 pictures as nested lists have about 100,000."""

MAX_COMMAS = 2_500_000
"""A bound on the numbers in one body, which the pixels of 256 pictures of 96×96, or of 3,000 of 28×28, stay below."""

NON_ASCII_ESCAPE = re.compile(rb"\\u(?!00[0-7])")
"""One such character makes Python store two or four bytes for every character of its string."""


def parse_object(text: bytes | bytearray) -> dict[str, Any]:
    """Raises MalformedBody if it is not a JSON object, InvalidRequest if it has more than MAX_VALUES values."""
    if sum(map(text.count, STRUCTURE)) > MAX_VALUES:
        raise InvalidRequest(f"the request's JSON has more than {MAX_VALUES} lists, objects and strings")
    if text.count(b",") > MAX_COMMAS:
        raise InvalidRequest(f"the request's JSON has more than {MAX_COMMAS} commas: send pixels as binary data")
    try:
        document = json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise MalformedBody(f"the request is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise MalformedBody("the request is not a JSON object")
    return document


def parse_ascii_object(text: bytes) -> dict[str, Any]:
    """As parse_object, but more than INLINE_BYTES must be ASCII, with its escapes, so that strings take little memory.

    Raises MalformedBody, InvalidRequest.
    """
    if len(text) > INLINE_BYTES and (not text.isascii() or NON_ASCII_ESCAPE.search(text)):
        raise MalformedBody("the request's JSON is long and has other characters than those of base64")
    return parse_object(text)


def _reject_constant(constant: str) -> NoReturn:
    """NaN and Infinity, which Python's parser accepts by default."""
    raise ValueError(f"{constant} is not JSON")
