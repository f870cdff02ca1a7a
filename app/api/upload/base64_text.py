"""Decodes pictures that are sent as text: base64, or a data: URL with base64."""

import binascii

from app.images.supported import find_format

URL_SAFE_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
"""The last two characters of the two base64 alphabets (RFC 4648)."""

MIN_FILE_BYTES = 24
"""No picture's file is smaller. Shorter results come from words or paths that happen to be valid base64."""


def decode_base64(text: bytes) -> bytes | None:
    """The file that the text encodes; None if the text is something else, such as a path."""
    head, comma, encoded = text.partition(b",") if text[:5].lower() == b"data:" else (b"", b"", text)
    if comma and not head.rstrip().lower().endswith(b";base64"):
        return None
    encoded = encoded.translate(URL_SAFE_TO_STANDARD, b" \t\r\n")
    try:
        data = binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
    except binascii.Error:
        return None
    return data if comma or len(data) >= MIN_FILE_BYTES else None


def decode_if_picture(body: bytes) -> bytes | None:
    """The file in a body of unknown type; None if the body is not base64 or does not encode a picture."""
    data = decode_base64(body)
    return data if data is not None and find_format(data) else None
