"""The API keys, and whether a request has one."""

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from app.errors import StartError
from app.settings import Settings


class ApiKeys:
    """The keys that let a request in; they are held and compared as digests, in constant time."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    @classmethod
    def read(cls, settings: Settings) -> "ApiKeys | None":
        """From the settings, or the file that they name; None if everybody gets in. Raises StartError."""
        if settings.api_key is None:
            return None
        value = settings.api_key.get_secret_value()
        try:
            lines = Path(value[1:]).read_text().splitlines() if value.startswith("@") else [value]
        except (OSError, UnicodeDecodeError) as error:
            raise StartError(f"GOOGLENET_API_KEY: its file cannot be read: {error}") from None
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not keys:
            raise StartError("GOOGLENET_API_KEY is set, but there is no key in it")
        return cls(keys)

    def admit(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether X-API-Key or Authorization: Bearer has one of them."""
        given = b""
        for name, value in headers:
            if name == b"x-api-key":
                given = value
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:].strip()
        digest = _digest(given)
        return (
            sum(hmac.compare_digest(digest, known) for known in self._digests) > 0
        )  # all are compared, whichever fits


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
