"""A request → the pictures it carries and what it wants of them, in whatever way clients send the two.

Every kind of body becomes parts, as of a form: the picture alone, JSON's keys, an urlencoded form's fields. Types that
say nothing, or are what a tool sends unasked, are seen through.
"""

import asyncio
from typing import Any

from fastapi import Request

from app.api.direct_routes import parse_options
from app.api.schemas import Options
from app.api.service import Service
from app.api.upload.base64_text import from_text, sniff
from app.api.upload.body import read_body
from app.api.upload.content_encoding import decompress
from app.api.upload.forms import Part, parse_multipart, parse_urlencoded, parse_value
from app.api.upload.json_body import INLINE_BYTES, parse_ascii_object
from app.errors import (
    BodyTooLarge,
    EmptyBody,
    InvalidParameter,
    MalformedBody,
    MissingPicture,
    TooManyPictures,
    UnsupportedFormat,
)
from app.settings import MAX_PICTURES

NAMES = {"file": None, "image": None, "files": None, "images": None}
"""Of parts that are pictures; with brackets too, as in files[] and files[0]."""

OPTIONS = Options.model_fields
"""Names of parts that say what is wanted."""

LONGEST_OPTION = 100
"""Bytes of one that are looked at."""

MULTIPART, URLENCODED, JSON = b"multipart/form-data", b"application/x-www-form-urlencoded", b"application/json"
SILENT = {b"", b"application/octet-stream", b"binary/octet-stream", b"text/plain", URLENCODED}
"""Types that tools put in by themselves."""

TEXT_SCALE = 3 / 2
"""Bytes of a body of text for one of the pictures in it: 4/3 in base64, and what is escaped."""

HOW = (
    'send the file itself, as curl -F file=@picture.png does, files= in Python, enctype="multipart/form-data" in HTML; '
    "the file in base64 or as a data: URL will do too"
)


async def read_pictures(request: Request, options: Options, most: int) -> tuple[list[bytes], Options]:
    """At least one picture and at most so many; the options with those of the body, which the query's go before.

    Raises ServiceError.
    """
    service = Service.of(request)
    headers = dict(request.scope["headers"])
    media_type, parameters = parse_value(headers.get(b"content-type", b""))
    limit = service.settings.max_upload_bytes
    text = media_type in (JSON, URLENCODED)
    most_bytes = int(limit * TEXT_SCALE) if text else limit
    body = b"".join(await read_body(request, limit=most_bytes, timeout=service.settings.body_timeout))
    if b"content-encoding" in headers:
        encoding = headers[b"content-encoding"].decode("latin-1")
        body = bytes(await asyncio.to_thread(decompress, bytearray(body), encoding, most_bytes))
        request.state.uploads.add(request.scope, len(body))
    if media_type == MULTIPART:
        parts = parse_multipart(body, parameters.get(b"boundary"))
    elif len(body) <= INLINE_BYTES or not (text or body[:INLINE_BYTES].isascii()):
        parts = _parts(body, media_type)
    else:
        async with service.parsing:
            parts = await asyncio.to_thread(_parts, body, media_type)
    chosen, fields = _sorted(parts, most)
    if chosen[0].is_file and len(chosen) == 1:
        pictures = [chosen[0].content]
    elif len(body) <= INLINE_BYTES or all(part.is_file for part in chosen):
        pictures = _decoded(chosen, limit)
    else:
        async with service.parsing:
            pictures = await asyncio.to_thread(_decoded, chosen, limit)
    if fields:
        told = parse_options(fields).model_dump(exclude_unset=True)  # by itself: nothing wrong is passed over
        options = parse_options(told | dict(request.query_params))
    return pictures, options


def _parts(body: bytes, media_type: bytes) -> list[Part]:
    """Of what is no multipart form. A picture by itself is one part."""
    if not body:
        raise EmptyBody("send the picture as the body, or in a multipart form")
    if media_type == JSON:
        return _json(body)
    if body.startswith(b"--"):
        raise MalformedBody(
            "the body is a form of another type than is said; leave Content-Type to what makes the form"
        )
    if not media_type.startswith(b"image/") and media_type not in SILENT:
        raise UnsupportedFormat(
            f"a body of type {media_type.decode(errors='replace')!r} is no picture; send multipart/form-data, image/…, "
            "application/octet-stream, or application/json"
        )
    if not body.isascii():
        if media_type == URLENCODED and not any(byte in body for byte in (b"\0", b"\r", b"\n")):
            raise MalformedBody(
                "the picture has lost its line ends and zeros, as by curl -d; use --data-binary, or -F file=@…"
            )
        return [Part("file", True, body)]
    if media_type in SILENT and body[:LONGEST_OPTION].lstrip().startswith(b"{"):
        return _json(body)
    picture = sniff(body)
    if picture is None and media_type == URLENCODED:
        return parse_urlencoded(body)
    return [Part("file", True, body if picture is None else picture)]


def _json(body: bytes) -> list[Part]:
    """A string is a field of a form, a list of them several of the same name."""
    parts = []
    for name, value in parse_ascii_object(body).items():
        if name not in NAMES and name not in OPTIONS:
            raise InvalidParameter(f"there is no {name[:60]!r} in a request; there are {', '.join((*NAMES, *OPTIONS))}")
        for entry in value if isinstance(value, list) and name in NAMES else [value]:
            if name in NAMES and not isinstance(entry, str):
                raise MalformedBody(f"{name} is no string: a picture's file is one, in base64 or as a data: URL")
            if entry is not None:
                parts.append(Part(name, False, _text(entry)))
    return parts


def _text(value: Any) -> bytes:
    return (value if isinstance(value, str) else str(value)).encode(errors="replace")


def _sorted(parts: list[Part], most: int) -> tuple[list[Part], dict[str, str]]:
    """The parts that are pictures, and the options by name. Raises MissingPicture, TooManyPictures."""
    chosen, fields = [], {}
    for part in parts:
        if part.name in NAMES or part.name.partition("[")[0] in NAMES:
            chosen.append(part)
        elif not part.is_file and part.name in OPTIONS and part.content:
            fields[part.name] = part.content[:LONGEST_OPTION].decode(errors="replace")
    if not chosen:
        chosen = [part for part in parts if part.is_file]
        if len(chosen) != 1:
            found = ", ".join(repr(part.name[:60]) for part in parts[:8]) or "none"
            raise MissingPicture(f"no part is called {', '.join(NAMES)}; found: {found}; {HOW}")
    if len(chosen) > most:
        where = "in one request; at most" if most > 1 else "where there may be one; POST /predict/batch takes up to"
        raise TooManyPictures(f"{len(chosen)} pictures {where} {MAX_PICTURES}")
    return chosen, fields


def _decoded(chosen: list[Part], limit: int) -> list[bytes]:
    """With those that are text as the files they stand for."""
    pictures = []
    for part in chosen:
        picture = part.content if part.is_file or not part.content.isascii() else from_text(part.content)
        if picture is None:
            raise MissingPicture(f"{part.name} is text, and no picture: {HOW}")
        pictures.append(picture)
    if sum(map(len, pictures)) > limit:
        raise BodyTooLarge(f"the pictures have more than {limit} bytes")
    return pictures
