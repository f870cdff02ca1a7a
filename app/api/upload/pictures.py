"""Reads the pictures and options of a request from every kind of body that clients send.

A body is a multipart form, an urlencoded form, a JSON object, or a picture by itself. Each kind is parsed into the same
list of form parts. Some clients send a default content type, whatever the body is: then its bytes show what it is.
"""

from fastapi import Request

from app.api.schemas import Options
from app.api.service import Service
from app.api.upload.base64_text import decode_base64, decode_if_picture
from app.api.upload.body import read_body
from app.api.upload.forms import Part, parse_header_value, parse_multipart, parse_urlencoded
from app.api.upload.json_body import INLINE_BYTES, parse_ascii_object
from app.api.upload.options import merge_options
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

PICTURE_NAMES = ("file", "image", "files", "images")
"""Names of parts that are pictures. Brackets may follow, as in files[] and files[0]."""

OPTION_NAMES = Options.model_fields
"""Names of parts that are options."""

MAX_OPTION = 100
"""Bytes of an option's value; the rest is ignored."""

MULTIPART, URLENCODED, JSON = b"multipart/form-data", b"application/x-www-form-urlencoded", b"application/json"

DEFAULT_TYPES = {b"", b"application/octet-stream", b"binary/octet-stream", b"text/plain", URLENCODED}
"""Content types that tools send by default, whatever the body is."""

TEXT_SCALE = 3 / 2
"""Bytes of text that may be sent for one byte of a picture: base64 takes 4/3, escapes take the rest."""

HOW_TO_SEND = (
    'send the file itself, as curl -F file=@picture.png does, files= in Python, enctype="multipart/form-data" in HTML; '
    "the file in base64 or as a data: URL will do too"
)


async def read_pictures(request: Request, options: Options, max_pictures: int) -> tuple[list[bytes], Options]:
    """The files of 1 to `max_pictures` pictures, and the options of query and body together.

    Raises ServiceError, RequestValidationError.
    """
    settings, uploads = Service.from_request(request).settings, request.state.uploads
    content_type = dict(request.scope["headers"]).get(b"content-type", b"")
    media_type, parameters = parse_header_value(content_type)
    is_text = media_type in (JSON, URLENCODED)
    limit = int(settings.max_upload_bytes * TEXT_SCALE) if is_text else settings.max_upload_bytes
    body = b"".join(await read_body(request, limit=limit, timeout=settings.body_timeout))
    if media_type == MULTIPART:
        parts = parse_multipart(body, parameters.get(b"boundary"))
    else:
        text_size = len(body) if is_text or body[:INLINE_BYTES].isascii() else 0
        parts = await uploads.parse(text_size, _parse_parts, body, media_type)
    picture_parts, option_fields = _select(parts, max_pictures)
    text_size = 0 if all(part.is_file for part in picture_parts) else len(body)
    pictures = await uploads.parse(text_size, _decode_text, picture_parts, settings.max_upload_bytes)
    return pictures, merge_options(request, option_fields) if option_fields else options


def _parse_parts(body: bytes, media_type: bytes) -> list[Part]:
    """The parts of a body whose type is not multipart/form-data."""
    if not body:
        raise EmptyBody("send the picture as the body, or in a multipart form")
    if media_type == JSON:
        return _parse_json(body)
    if body.startswith(b"--"):
        raise MalformedBody(
            "the body is a multipart form, but its type says otherwise; leave Content-Type to the library that sends it"
        )
    if not media_type.startswith(b"image/") and media_type not in DEFAULT_TYPES:
        raise UnsupportedFormat(
            f"a body of type {media_type.decode(errors='replace')!r} is not a picture; send multipart/form-data, "
            "image/…, application/octet-stream, or application/json"
        )
    if not body.isascii():
        if media_type == URLENCODED and not any(byte in body for byte in (b"\0", b"\r", b"\n")):
            raise MalformedBody(
                "the picture lost its line breaks and zero bytes, as with curl -d; use --data-binary, or -F file=@…"
            )
        return [Part("file", True, body)]
    if media_type in DEFAULT_TYPES and body[:MAX_OPTION].lstrip().startswith(b"{"):
        return _parse_json(body)
    picture = decode_if_picture(body)
    if picture is None and media_type == URLENCODED:
        return parse_urlencoded(body)
    return [Part("file", True, body if picture is None else picture)]


def _parse_json(body: bytes) -> list[Part]:
    """Each key is a part; a list of pictures is several parts of one name."""
    parts = []
    for name, value in parse_ascii_object(body).items():
        if name not in PICTURE_NAMES and name not in OPTION_NAMES:
            known = ", ".join((*PICTURE_NAMES, *OPTION_NAMES))
            raise InvalidParameter(f"there is no {name[:60]!r} in a request; there are {known}")
        for entry in value if isinstance(value, list) and name in PICTURE_NAMES else [value]:
            if name in PICTURE_NAMES and not isinstance(entry, str):
                raise MalformedBody(f"{name} is not a string: send a picture as a string in base64, or as a data: URL")
            if isinstance(entry, list | dict):
                raise InvalidParameter(f"{name} is a list or an object")
            if entry is not None:
                parts.append(Part(name, False, str(entry).encode(errors="replace")))
    return parts


def _select(parts: list[Part], max_pictures: int) -> tuple[list[Part], dict[str, str]]:
    """The parts that are pictures, and the options by name. Raises MissingPicture, TooManyPictures."""
    pictures, options = [], {}
    for part in parts:
        if part.name in PICTURE_NAMES or part.name.partition("[")[0] in PICTURE_NAMES:
            pictures.append(part)
        elif not part.is_file and part.name in OPTION_NAMES and part.content:
            options[part.name] = part.content[:MAX_OPTION].decode(errors="replace")
    if not pictures:
        pictures = [part for part in parts if part.is_file]  # a single file may have any name
        if len(pictures) != 1:
            found = ", ".join(repr(part.name[:60]) for part in parts[:8]) or "none"
            raise MissingPicture(f"no part is called {', '.join(PICTURE_NAMES)}; found: {found}; {HOW_TO_SEND}")
    if len(pictures) > max_pictures:
        where = "in one request; at most" if max_pictures > 1 else "instead of one; POST /predict/batch takes up to"
        raise TooManyPictures(f"{len(pictures)} pictures {where} {MAX_PICTURES}")
    return pictures, options


def _decode_text(parts: list[Part], limit: int) -> list[bytes]:
    """The files of all parts, of which some may be base64. Raises MissingPicture, BodyTooLarge beyond `limit` bytes."""
    pictures = []
    for part in parts:
        picture = part.content if part.is_file or not part.content.isascii() else decode_base64(part.content)
        if picture is None:
            raise MissingPicture(f"{part.name} is text that is not a picture: {HOW_TO_SEND}")
        pictures.append(picture)
    if sum(map(len, pictures)) > limit:
        raise BodyTooLarge(f"the pictures have more than {limit} bytes")
    return pictures
