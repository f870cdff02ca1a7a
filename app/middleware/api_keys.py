"""The configured API keys, and the check of a request's key."""

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from app.errors import StartError
from app.settings import Settings


class ApiKeys:
    """Holds SHA-256 digests of the keys and compares them in constant time."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    @classmethod
    def from_settings(cls, settings: Settings) -> "ApiKeys | None":
        """The key of the settings, or the keys of the file that they name. None if no key is needed.

        Raises StartError if the file cannot be read or there is no key.
        """
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

    def accept(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether X-API-Key or Authorization: Bearer carries one of the keys."""
        key = b""
        for name, value in headers:
            if name == b"x-api-key":
                key = value
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                key = value[7:].strip()
        digest = _digest(key)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]  # all, so that the time is constant
        return any(matches)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
