"""A request's body, within the limits on bytes and time."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.api.upload.memory_budget import UploadBudget
from app.errors import BodyTooLarge, BodyTooSlow, MalformedBody

ARRIVED = "body_arrived"
"""In the scope of a request whose body is whole (app.http.protocol): to set a timer would cost more than to read it."""


async def read_body(request: Request, *, limit: int, timeout: float) -> list[bytes]:
    """The whole body, in pieces. One over the limit is read on for a while, so that its sender gets to read the answer.

    Raises MalformedBody, BodyTooLarge, BodyTooSlow.
    """
    headers = dict(request.scope["headers"])
    announced = int(headers.get(b"content-length", 0))  # the server has checked that it is a number
    if announced > limit and (announced > 2 * limit or b"expect" in headers):
        raise BodyTooLarge(f"the body has {announced} bytes, more than {limit}", headers={"Connection": "close"})
    chunks, size = [], 0
    uploads: UploadBudget | None = getattr(request.state, "uploads", None)
    try:
        async with asyncio.timeout(None if ARRIVED in request.scope else timeout):
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
