"""The service from Python: `Client`, and `AsyncClient` for asyncio."""

from app.client.client import (
    Asked,
    AsyncClient,
    Client,
    ConnectionFailed,
    Explanation,
    Health,
    NoAnswer,
    OtherAnswer,
    Picture,
    Prediction,
    Result,
    ServiceError,
    TimedOut,
    Unreadable,
)

__all__ = [
    "Asked",
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "Explanation",
    "Health",
    "NoAnswer",
    "OtherAnswer",
    "Picture",
    "Prediction",
    "Result",
    "ServiceError",
    "TimedOut",
    "Unreadable",
]
