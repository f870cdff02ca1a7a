"""A form's body → its parts, multipart (RFC 7578) or urlencoded."""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_plus

from app.errors import EmptyBody, MalformedBody

PARAMETER = re.compile(rb"""\s*([^\s=;]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))[^;]*(?:;|$)""", re.DOTALL)
"""One parameter of a header's value, quoted or not."""

MAX_PARTS = 1000
"""In one form, pictures and other fields together."""

LONGEST_PADDING = 256
"""Bytes of white space behind a boundary, which the RFC allows and nobody sends."""

LONGEST_HEADERS = 16 * 1024
"""Bytes of one part's headers."""

LONGEST_NAME = 1000
"""Bytes of an urlencoded field's name that are looked at."""

IN_PICTURES = b"+/=-_:;, \r\n"
"""What is escaped of base64 and data: URLs, if anything is."""


class Part(NamedTuple):
    name: str
    is_file: bool
    """Whether it comes with a file name, be that empty."""
    content: bytes


def parse_multipart(body: bytes, boundary: bytes | None) -> list[Part]:
    """By RFC 7578 and RFC 2046, section 5.1.1. Raises MalformedBody, EmptyBody.

    The body is whole and in memory, so searching it for the boundary does, however it is made up.
    """
    if not boundary:
        raise MalformedBody(
            "the content type multipart/form-data names no boundary; leave the header to what makes the form"
        )
    if not body:
        raise EmptyBody("the form is empty")
    return [_part(headers, content) for headers, content in _split(body, b"--" + boundary)]


def parse_urlencoded(body: bytes) -> list[Part]:
    """ASCII alone. A `+` stays one: it is base64's more often than a space. Raises MalformedBody."""
    if body.count(b"&") >= MAX_PARTS:
        raise MalformedBody(f"the form has more than {MAX_PARTS} fields")
    pairs = (field.partition(b"=") for field in body.split(b"&"))
    return [Part(unquote_plus(name[:LONGEST_NAME].decode()), False, _unescape(value)) for name, _, value in pairs]


def parse_value(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """`form-data; name="file"` → the value in lower case, and its parameters (RFC 9110, section 5.6.6)."""
    value, _, rest = header.partition(b";")
    parameters, at = {}, 0
    while found := PARAMETER.match(rest, at):  # one behind the other, so that no header takes long
        name, quoted, plain = found.groups()
        parameters[name.lower()] = plain if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
        at = found.end()
    return value.strip().lower(), parameters


def _split(body: bytes, delimiter: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(headers, content) of each part."""
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2  # a preamble is passed over
    if at == 1:
        raise MalformedBody("the boundary that the content type names is not in the form")
    for count in itertools.count():
        at += len(delimiter)
        if body.startswith(b"--", at):
            return
        if count == MAX_PARTS:
            raise MalformedBody(f"the form has more than {MAX_PARTS} parts")
        line_end = body.find(b"\r\n", at, at + LONGEST_PADDING)
        if line_end < 0 or body[at:line_end].strip(b" \t"):
            raise MalformedBody("the form has a boundary that is followed by something else")
        head_end = body.find(b"\r\n\r\n", line_end, line_end + LONGEST_HEADERS)
        if head_end < 0:
            raise MalformedBody("a part of the form has no end to its headers")
        end = body.find(b"\r\n" + delimiter, head_end + 2)
        if end < 0:
            raise MalformedBody("the form has no closing boundary: it was cut off")
        yield body[line_end + 2 : head_end], body[head_end + 4 : end]
        at = end + 2


def _part(headers: bytes, content: bytes) -> Part:
    """With what Content-Disposition says of it; the name is '' if there is none."""
    for line in headers.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-disposition":
            parameters = parse_value(value)[1]
            is_file = b"filename" in parameters or b"filename*" in parameters
            return Part(parameters.get(b"name", b"").decode(errors="replace"), is_file, content)
    return Part("", False, content)


def _unescape(value: bytes) -> bytes:
    """By whole passes, so that no body takes long; what is no picture's is short and unescaped where it is used."""
    if b"%" in value:
        for byte in IN_PICTURES:
            for escaped in {b"%%%02X" % byte, b"%%%02x" % byte}:
                value = value.replace(escaped, bytes([byte]))
    return value
