"""Pictures that are written as text: in base64, or as a data: URL of it."""

import binascii

from app.images.supported import find_format

ALPHABET = bytes.maketrans(b"-_", b"+/")
"""From that of URLs to the usual one (RFC 4648)."""

FEWEST_BYTES = 24
"""Of a picture's file; a word or a short path may be base64 of less."""


def from_text(text: bytes) -> bytes | None:
    """The file that a field holds as text; None if it holds something else, a path perhaps."""
    head, comma, encoded = text.partition(b",") if text[:5].lower() == b"data:" else (b"", b"", text)
    if comma and not head.rstrip().lower().endswith(b";base64"):
        return None
    encoded = encoded.translate(ALPHABET, b" \t\r\n")
    try:
        data = binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
    except binascii.Error:
        return None
    return data if comma or len(data) >= FEWEST_BYTES else None


def sniff(body: bytes) -> bytes | None:
    """The picture in a body that does not say that it is text; None if there is none in it."""
    data = from_text(body)
    return data if data is not None and find_format(data) else None
