"""A request's body → the pictures in it, multipart or raw, within the limit on bytes."""

import asyncio
import itertools
import re
from collections.abc import Collection, Iterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.budget import Uploads
from app.errors import BodyTooLarge, BodyTooSlow, EmptyBody, MalformedBody, MissingPicture, UnsupportedFormat

PARAMETER = re.compile(rb"""\s*([^\s=;]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))[^;]*(?:;|$)""", re.DOTALL)
"""One parameter of a header's value, quoted or not."""

MAX_PARTS = 1000
"""In one form, pictures and other fields together."""

LONGEST_PADDING = 256
"""Bytes of white space behind a boundary, which the RFC allows and nobody sends."""

LONGEST_HEADERS = 16 * 1024
"""Bytes of one part's headers."""


async def read_pictures(request: Request, names: Collection[str], *, limit: int, timeout: float) -> list[bytes]:
    """The parts of a form that are called one of `names`, or the raw body as the only picture.

    Raises EmptyBody, MalformedBody, MissingPicture, BodyTooLarge, BodyTooSlow, UnsupportedFormat.
    """
    media_type, options = _parse_value(request.headers.get("content-type", "").encode("latin-1"))
    body = b"".join(await read_body(request, limit=limit, timeout=timeout))
    if media_type == b"multipart/form-data":
        return _parse_form(body, options.get(b"boundary"), names)
    if not body:
        raise EmptyBody("send the picture as the body, or in a multipart form")
    if media_type.startswith(b"image/") or media_type in (b"", b"application/octet-stream"):
        return [body]
    raise UnsupportedFormat(
        f"a body of type {media_type.decode(errors='replace')!r} is no picture; send multipart/form-data, "
        "image/… or application/octet-stream"
    )


async def read_body(request: Request, *, limit: int, timeout: float) -> list[bytes]:
    """The whole body, in pieces. One over the limit is read on for a while, so that its sender gets to read the answer.

    Raises MalformedBody, BodyTooLarge, BodyTooSlow.
    """
    announced = int(request.headers.get("content-length", 0))  # the server has checked that it is a number
    if announced > limit and (announced > 2 * limit or "expect" in request.headers):
        raise BodyTooLarge(f"the body has {announced} bytes, more than {limit}", headers={"Connection": "close"})
    chunks, size = [], 0
    uploads: Uploads | None = getattr(request.state, "uploads", None)
    try:
        async with asyncio.timeout(timeout):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
                    if uploads is not None:
                        uploads.add(request.scope, len(chunk))
                elif size > 2 * limit:
                    break
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {timeout:g} s", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        request.scope["gone"] = True
        raise MalformedBody("the connection ended before the body did") from None
    if size > limit:
        closing = {"Connection": "close"} if size > 2 * limit else {}
        raise BodyTooLarge(f"the body has more than {limit} bytes", headers=closing)
    return chunks


def _parse_form(body: bytes, boundary: bytes | None, names: Collection[str]) -> list[bytes]:
    """The contents of the parts called one of `names`, by RFC 7578 and RFC 2046, section 5.1.1.

    The body is whole and in memory, so searching it for the boundary does, however it is made up.
    """
    if not boundary:
        raise MalformedBody("the content type multipart/form-data names no boundary")
    if not body:
        raise EmptyBody("the form is empty")
    found, pictures = [], []
    for headers, content in _parts(body, b"--" + boundary):
        name = _field_name(headers)
        found.append(name)
        if name in names:
            pictures.append(content)
    if not pictures:
        listed = ", ".join(map(repr, found[:8]))
        raise MissingPicture(f"no part is called {' or '.join(names)}; found: {listed or 'none'}")
    return pictures


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[bytes, bytes]]:
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


def _field_name(headers: bytes) -> str:
    """The name in Content-Disposition; '' if there is none."""
    for line in headers.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-disposition":
            return _parse_value(value)[1].get(b"name", b"").decode(errors="replace")
    return ""


def _parse_value(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """`form-data; name="file"` → the value in lower case, and its parameters (RFC 9110, section 5.6.6)."""
    value, _, rest = header.partition(b";")
    parameters, at = {}, 0
    while found := PARAMETER.match(rest, at):  # one behind the other, so that no header takes long
        name, quoted, plain = found.groups()
        parameters[name.lower()] = plain if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
        at = found.end()
    return value.strip().lower(), parameters
