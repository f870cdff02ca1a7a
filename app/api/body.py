"""A request's body → the pictures in it, multipart or raw, within the limit on bytes."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from app.errors import BodyTooLarge, BodyTooSlow, EmptyBody, MalformedBody, MissingPicture, UnsupportedFormat

MAX_PARTS = 128
"""In one form, pictures and other fields together."""


async def read_pictures(request: Request, names: Collection[str], *, limit: int, timeout: float) -> list[bytes]:
    """The parts of a form that are called one of `names`, or the raw body as the only picture.

    Raises EmptyBody, MalformedBody, MissingPicture, BodyTooLarge, BodyTooSlow, UnsupportedFormat.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    body = await _read(request, limit, timeout)
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


async def _read(request: Request, limit: int, timeout: float) -> bytes:
    """The whole body. One over the limit is read on for a while, so that its sender gets to read the answer."""
    announced = int(request.headers.get("content-length", 0))  # the server has checked that it is a number
    if announced > limit and (announced > 2 * limit or "expect" in request.headers):
        raise BodyTooLarge(f"the body has {announced} bytes, more than {limit}", headers={"Connection": "close"})
    chunks, size = [], 0
    try:
        async with asyncio.timeout(timeout):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
                elif size > 2 * limit:
                    break
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {timeout:g} s", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise MalformedBody("the connection ended before the body did") from None
    if size > limit:
        closing = {"Connection": "close"} if size > 2 * limit else {}
        raise BodyTooLarge(f"the body has more than {limit} bytes", headers=closing)
    return b"".join(chunks)


@dataclass
class _Part:
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    data: bytearray = field(default_factory=bytearray)


class _Form:
    """Collects the parts that python-multipart's callbacks announce."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.complete = False

    def on_part_begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise MalformedBody(f"the form has more than {MAX_PARTS} parts")
        self.parts.append(_Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].value += data[start:end]

    def on_header_end(self) -> None:
        part = self.parts[-1]
        part.headers.append((bytes(part.name).lower(), bytes(part.value)))
        part.name.clear()
        part.value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data += memoryview(data)[start:end]

    def on_end(self) -> None:
        self.complete = True


def _parse_form(body: bytes, boundary: bytes | None, names: Collection[str]) -> list[bytes]:
    if not boundary:
        raise MalformedBody("the content type multipart/form-data names no boundary")
    if not body:
        raise EmptyBody("the form is empty")
    form = _Form()
    callbacks = {name: getattr(form, name) for name in dir(form) if name.startswith("on_")}
    try:
        MultipartParser(boundary, callbacks).write(body)  # type: ignore[arg-type]
    except FormParserError as error:
        raise MalformedBody(f"the form cannot be parsed: {error}") from None
    if not form.complete:
        raise MalformedBody("the form has no closing boundary: it was cut off, or its boundary is another")
    pictures = [bytes(part.data) for part in form.parts if _field_name(part) in names]
    if not pictures:
        found = ", ".join(repr(_field_name(part)) for part in form.parts[:8])
        raise MissingPicture(f"no part is called {' or '.join(names)}; found: {found or 'none'}")
    return pictures


def _field_name(part: _Part) -> str:
    disposition = next((value for name, value in part.headers if name == b"content-disposition"), b"")
    _, options = parse_options_header(disposition)
    return options.get(b"name", b"").decode(errors="replace")
