"""The configured API keys, and the check of a request's key."""

import hashlib
import hmac
from collections.abc import Iterable

from app.settings import Settings, read_api_keys


class ApiKeys:
    """Holds SHA-256 digests of the keys and compares them in constant time."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    @classmethod
    def from_settings(cls, settings: Settings) -> "ApiKeys | None":
        """None if no key is needed. Raises StartError (app.settings.read_api_keys)."""
        return None if settings.api_key is None else cls(read_api_keys(settings.api_key.get_secret_value()))

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
