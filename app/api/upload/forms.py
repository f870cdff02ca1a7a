"""Parses forms into their parts: multipart/form-data (RFC 7578) and application/x-www-form-urlencoded."""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_plus

from app.errors import EmptyBody, MalformedBody

PARAMETER = re.compile(rb"""\s*([^\s=;]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))[^;]*(?:;|$)""", re.DOTALL)
"""One parameter of a header's value, quoted or not."""

MAX_PARTS = 1000
"""Parts of one form, pictures and other fields together."""

MAX_PADDING = 256
"""Bytes of white space after a boundary. The RFC allows it; clients do not send any."""

MAX_PART_HEADERS, MAX_ALL_HEADERS = 16 * 1024, 256 * 1024
"""Bytes of the headers of one part, and of all parts together."""

MAX_ESCAPES = 2_000_000
"""Per cent signs in one urlencoded value. A picture of 32 MB in base64 has 1.3 million characters to escape."""

MAX_FIELD_NAME = 1000
"""Bytes of an urlencoded field's name; the rest is ignored."""

ESCAPED_IN_BASE64 = b"+/=-_:;, \r\n"
"""The characters of base64 and data: URLs that clients may escape."""


class Part(NamedTuple):
    """One part of a form."""

    name: str
    is_file: bool
    """Whether the part has a file name, even an empty one."""
    content: bytes


def parse_multipart(body: bytes, boundary: bytes | None) -> list[Part]:
    """By RFC 7578 and RFC 2046, section 5.1.1. Raises MalformedBody, EmptyBody."""
    if not boundary:
        raise MalformedBody(
            "the content type multipart/form-data names no boundary; leave the header to the library that sends it"
        )
    if not body:
        raise EmptyBody("the form is empty")
    return [_part(headers, content) for headers, content in _split(body, b"--" + boundary)]


def parse_urlencoded(body: bytes) -> list[Part]:
    """`body` is ASCII. A `+` stays as it is: in base64 it is a digit, not a space. Raises MalformedBody."""
    if body.count(b"&") >= MAX_PARTS:
        raise MalformedBody(f"the form has more than {MAX_PARTS} fields")
    fields = (field.partition(b"=") for field in body.split(b"&"))
    return [Part(unquote_plus(name[:MAX_FIELD_NAME].decode()), False, _unescape(value)) for name, _, value in fields]


def parse_header_value(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """`form-data; name="file"` → the value in lower case, and its parameters (RFC 9110, section 5.6.6)."""
    value, _, rest = header.partition(b";")
    parameters, position = {}, 0
    while match := PARAMETER.match(rest, position):  # each match starts where the last one ended: linear time
        name, quoted, plain = match.groups()
        parameters[name.lower()] = plain if quoted is None else _unquote(quoted)
        position = match.end()
    return value.strip().lower(), parameters


def _unquote(quoted: bytes) -> bytes:
    """Removes the backslashes of a quoted string (RFC 9110, section 5.6.4)."""
    return re.sub(rb"\\(.)", rb"\1", quoted) if b"\\" in quoted else quoted


def _split(body: bytes, delimiter: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(headers, content) of each part. Takes linear time, since the whole body is in memory."""
    position = 0
    if not body.startswith(delimiter):
        preamble_end = body.find(b"\r\n" + delimiter)
        if preamble_end < 0:
            raise MalformedBody("the boundary that the content type names is not in the form")
        position = preamble_end + 2
    header_bytes = 0
    for count in itertools.count():
        position += len(delimiter)
        if body.startswith(b"--", position):
            return
        if count == MAX_PARTS:
            raise MalformedBody(f"the form has more than {MAX_PARTS} parts")
        line_end = body.find(b"\r\n", position, position + MAX_PADDING)
        if line_end < 0 or body[position:line_end].strip(b" \t"):
            raise MalformedBody("the form has a boundary that is followed by something else")
        headers_end = body.find(b"\r\n\r\n", line_end, line_end + MAX_PART_HEADERS)
        if headers_end < 0:
            raise MalformedBody("a part of the form has no end to its headers")
        header_bytes += headers_end - line_end
        if header_bytes > MAX_ALL_HEADERS:
            raise MalformedBody(f"the headers of the form's parts have more than {MAX_ALL_HEADERS} bytes together")
        content_end = body.find(b"\r\n" + delimiter, headers_end + 2)
        if content_end < 0:
            raise MalformedBody("the form has no closing boundary: it was cut off")
        yield body[line_end + 2 : headers_end], body[headers_end + 4 : content_end]
        position = content_end + 2


def _part(headers: bytes, content: bytes) -> Part:
    """Its name comes from Content-Disposition; it is empty if there is none."""
    for line in headers.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-disposition":
            parameters = parse_header_value(value)[1]
            is_file = b"filename" in parameters or b"filename*" in parameters
            return Part(parameters.get(b"name", b"").decode(errors="replace"), is_file, content)
    return Part("", False, content)


def _unescape(value: bytes) -> bytes:
    """Undoes only the escapes that base64 can have, by one pass for each: linear time, whatever the body is."""
    if value.count(b"%") > MAX_ESCAPES:
        raise MalformedBody(f"a field has more than {MAX_ESCAPES} escapes")
    if b"%" in value:
        for byte in ESCAPED_IN_BASE64:
            for escape in {b"%%%02X" % byte, b"%%%02x" % byte}:
                value = value.replace(escape, bytes([byte]))
    return value
