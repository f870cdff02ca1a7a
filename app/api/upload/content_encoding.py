"""Content-Encoding of requests and Accept-Encoding of answers: gzip and deflate (RFC 9110, section 8.4)."""

import time
import zlib

from app.errors import BodyTooLarge, MalformedBody, UnsupportedEncoding

WINDOW_BITS = {"gzip": 31, "deflate": 15}
"""zlib's `wbits`, which also selects the format. HTTP's deflate is the zlib format."""

FASTEST = 1
"""Compression level."""

MAX_SECONDS = 1.0
"""CPU time to decompress a body. The largest takes a fifth of it; a body of empty blocks would take seconds."""

PIECE_BYTES = 16 * 1024
"""Bytes that are decompressed between two checks of the time. They decompress to at most 17 MB."""


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Raises UnsupportedEncoding, MalformedBody, or BodyTooLarge if the result has more than `limit` bytes."""
    encoding = encoding.strip().lower().removeprefix("x-")  # x-gzip is an old name for gzip (RFC 9110, 8.4.1.3)
    if encoding in ("", "identity"):
        return body
    if encoding not in WINDOW_BITS:
        supported = ", ".join(WINDOW_BITS)
        raise UnsupportedEncoding(
            f"the body's Content-Encoding is {encoding[:60]!r}; known are {supported}",
            headers={"Accept-Encoding": supported},
        )
    decoder, compressed, plain = zlib.decompressobj(WINDOW_BITS[encoding]), memoryview(body), bytearray()
    deadline = time.thread_time() + MAX_SECONDS
    for at in range(0, len(body), PIECE_BYTES):
        try:
            plain += decoder.decompress(compressed[at : at + PIECE_BYTES], limit + 1 - len(plain))
        except zlib.error as error:
            raise MalformedBody(f"the body is not {encoding}: {error}") from None
        if len(plain) > limit:
            raise BodyTooLarge(f"the body has more than {limit} bytes when decompressed")
        if time.thread_time() > deadline:
            raise MalformedBody("the body takes too long to decompress")
    if not decoder.eof or decoder.unused_data:
        raise MalformedBody(f"the body's {encoding} data is cut off, or other data follows it")
    return bytes(plain)


def compress(body: bytes, accepted: str) -> tuple[bytes, dict[str, str]]:
    """The body and its extra headers; compressed only if the client accepts exactly one encoding.

    HTTP libraries send a list by default. For them the body stays as it is: in a local network, tensors are sent faster
    than they are compressed.
    """
    encoding = accepted.strip().lower()
    if encoding not in WINDOW_BITS:
        return body, {}
    encoder = zlib.compressobj(FASTEST, wbits=WINDOW_BITS[encoding])
    return encoder.compress(body) + encoder.flush(), {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
