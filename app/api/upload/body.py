"""Reads a request's body, within the limits on bytes and time."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.api.upload.content_encoding import decompress
from app.asgi import BODY_ARRIVED, CLIENT_DISCONNECTED
from app.errors import BodyTooLarge, BodyTooSlow, MalformedBody


async def read_body(request: Request, *, limit: int, timeout: float) -> list[bytes]:
    """The body, decompressed, in pieces for the caller to join. `limit` is in bytes, `timeout` in seconds.

    Raises BodyTooLarge, BodyTooSlow, MalformedBody, UnsupportedEncoding, QueueFull.
    """
    headers = dict(request.scope["headers"])
    announced = int(headers.get(b"content-length", 0))  # the server has checked that it is a number
    if announced > limit and (announced > 2 * limit or b"expect" in headers):
        raise BodyTooLarge(f"the body has {announced} bytes, more than {limit}", headers={"Connection": "close"})
    try:
        if BODY_ARRIVED in request.scope:
            chunks = await _receive(request, limit)
        else:
            async with asyncio.timeout(timeout):
                chunks = await _receive(request, limit)
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {timeout:g} s", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        request.scope[CLIENT_DISCONNECTED] = True
        raise MalformedBody("the connection ended before the body did") from None
    if b"content-encoding" in headers:
        encoding = headers[b"content-encoding"].decode("latin-1")
        chunks = [await asyncio.to_thread(decompress, b"".join(chunks), encoding, limit)]
        request.state.uploads.reserve(request.scope, len(chunks[0]))
    return chunks


async def _receive(request: Request, limit: int) -> list[bytes]:
    """Reads up to twice the limit before refusing: many clients read no answer until they have sent the whole body."""
    chunks, size, more = [], 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if chunk and size <= limit:
            chunks.append(chunk)
            request.state.uploads.reserve(request.scope, len(chunk))
        elif size > 2 * limit:
            break
    if size > limit:
        headers = {"Connection": "close"} if size > 2 * limit else {}
        raise BodyTooLarge(f"the body has more than {limit} bytes", headers=headers)
    return chunks
