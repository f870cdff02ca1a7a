"""Python client of the service: `Client` for ordinary code, `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000") as client:
        print(client.predict("boot.jpg").label)

Every failure raises a subclass of ServiceError; app.client.errors lists them.
"""

from app.api.schemas import Explanation, Health, Prediction
from app.client.async_client import AsyncClient, PredictOptions, Result
from app.client.encoding import Picture
from app.client.errors import ConnectionFailed, NoResponse, TimedOut, UnexpectedResponse, UnreadablePicture
from app.client.sync_client import Client
from app.errors import ServiceError

__all__ = [
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "Explanation",
    "Health",
    "NoResponse",
    "Picture",
    "PredictOptions",
    "Prediction",
    "Result",
    "ServiceError",
    "TimedOut",
    "UnexpectedResponse",
    "UnreadablePicture",
]
