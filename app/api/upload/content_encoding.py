"""Compressed bodies: Content-Encoding of requests and Accept-Encoding of answers, gzip and deflate (RFC 9110, 8.4)."""

import zlib

from app.errors import BodyTooLarge, MalformedBody, UnsupportedEncoding

WINDOW = {"gzip": 31, "deflate": 15}
"""zlib's name for the two formats; deflate is the zlib format."""

FAST = 1


def decompress(body: bytearray, encoding: str, limit: int) -> bytearray:
    """The body as it was. Raises UnsupportedEncoding, MalformedBody, or BodyTooLarge beyond `limit` bytes."""
    encoding = encoding.strip().lower().removeprefix("x-")  # x-gzip is an old name for gzip (RFC 9110, 8.4.1.3)
    if encoding in ("", "identity"):
        return body
    if encoding not in WINDOW:
        known = ", ".join(WINDOW)
        raise UnsupportedEncoding(
            f"the body's Content-Encoding is {encoding[:60]!r}; known are {known}", headers={"Accept-Encoding": known}
        )
    decoder = zlib.decompressobj(WINDOW[encoding])
    try:
        plain = bytearray(decoder.decompress(body, limit + 1))
    except zlib.error as error:
        raise MalformedBody(f"the body is not {encoding}: {error}") from None
    if len(plain) > limit:
        raise BodyTooLarge(f"the body has more than {limit} bytes when decompressed")
    if not decoder.eof or decoder.unused_data:
        raise MalformedBody(f"the body's {encoding} is cut off, or something follows it")
    return plain


def compress(body: bytes, accepted: str) -> tuple[bytes, dict[str, str]]:
    """Compressed if that alone is what the client accepts: HTTP libraries offer a list by themselves, and numbers
    between neighbours are sent faster than they are compressed."""
    encoding = accepted.strip().lower()
    if encoding not in WINDOW:
        return body, {}
    encoder = zlib.compressobj(FAST, wbits=WINDOW[encoding])
    return encoder.compress(body) + encoder.flush(), {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
