"""AsyncClient: the client for asyncio, with retries and with many pictures per request."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import Any, Self, TypedDict, TypeVar, Unpack

import httpx
from pydantic import BaseModel, ValidationError

from app.api.schemas import Explanation, Health, Prediction, Predictions
from app.client.encoding import Picture, encode_or_error, group_by_size
from app.client.errors import (
    ConnectionFailed,
    TimedOut,
    UnreadablePicture,
    error_from_problem,
    error_from_response,
    retry_after_seconds,
)
from app.errors import BodyTooLarge, ServiceError, TooManyPictures, Unavailable

DEFAULT_URL = "http://127.0.0.1:8000"

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 5.0
"""Seconds. The back-off doubles from the first to the longest; the pause is a random part of it."""

PICTURES_PER_REQUEST = 16
BYTES_PER_REQUEST = 8 * 1024 * 1024
"""Limits of one /predict/batch request. A larger picture is sent alone."""

RAW_BODY = {"Content-Type": "application/octet-stream"}
"""Headers of a request whose body is the picture itself."""

Result = Prediction | ServiceError
M = TypeVar("M", bound=BaseModel)


class PredictOptions(TypedDict, total=False):
    """Query parameters of a prediction. The service uses its default for each one that is missing or None."""

    top_k: int | None
    mode: str | None
    background: str | None
    rotation: str | None


class AsyncClient:
    """Client for asyncio. Use it as an async context manager, in one event loop.

    `timeout` is in seconds and covers a whole call: all `attempts` and the pauses between them. Only a 503 and a
    broken connection are tried again, after the service's Retry-After plus a random back-off.

    Raises ConnectionFailed for a URL or an API key that cannot be sent.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, api_key: str | None = None, timeout: float = 30.0, attempts: int = 5
    ) -> None:
        if attempts < 1:
            raise ValueError("attempts: at least one is needed")
        self.timeout, self.attempts = timeout, attempts
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=None, limits=httpx.Limits())  # noqa: S113 – _request_once has the timeout
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise ConnectionFailed(f"{url} or the API key cannot be sent: {error}") from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def predict(self, picture: Picture, **options: Unpack[PredictOptions]) -> Prediction:
        """Classifies one picture.

        Raises ServiceError; TypeError or ValueError for an argument that is not a picture.
        """
        return await self._predict(await _encode_one(picture), options)

    async def explain(self, picture: Picture, **options: Unpack[PredictOptions]) -> Explanation:
        """As `predict`, with the class activation maps and the picture as the network saw it."""
        response = await self._post("/explain", options, content=await _encode_one(picture), headers=RAW_BODY)
        return _parse(Explanation, response)

    async def predict_many(
        self, pictures: Iterable[Picture], *, concurrency: int = 4, **options: Unpack[PredictOptions]
    ) -> list[Result]:
        """Classifies any number of pictures and returns the results in the same order.

        The result of a picture that failed is its ServiceError. At most `concurrency` requests run at once. Raises
        TypeError or ValueError for an argument that is not a picture.
        """
        return [result async for result in self.stream(pictures, concurrency=concurrency, **options)]

    async def stream(
        self, pictures: Iterable[Picture], *, concurrency: int = 4, **options: Unpack[PredictOptions]
    ) -> AsyncIterator[Result]:
        """As `predict_many`, for more pictures than fit into memory: it reads `pictures` only as fast as it sends.

        It reads them in a thread, because they may come slowly.
        """
        async for results in self.stream_batches(pictures, concurrency, options):
            for result in results:
                yield result

    async def stream_batches(
        self, pictures: Iterable[Picture], concurrency: int, options: PredictOptions
    ) -> AsyncGenerator[list[Result], None]:
        """As `stream`, in lists of up to PICTURES_PER_REQUEST results. Closing the generator cancels its requests."""
        remaining = iter(pictures)
        running: deque[asyncio.Task[list[Result]]] = deque()
        try:
            while batch := await asyncio.to_thread(lambda: list(islice(remaining, PICTURES_PER_REQUEST))):
                running.append(asyncio.create_task(self._predict_batch(batch, options)))
                if len(running) >= concurrency:
                    yield await running.popleft()
            while running:
                yield await running.popleft()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def health(self) -> Health:
        """Returns the service's health, ready or not. Raises ServiceError if the response is not a health report."""
        response = await self._request_once("GET", "/health", asyncio.get_running_loop().time() + self.timeout)
        return _parse(Health, response)

    async def _predict_batch(self, pictures: Sequence[Picture], options: PredictOptions) -> list[Result]:
        encoded = await _encode_all(pictures)
        results: list[Result | bytes] = list(encoded)
        for indices in group_by_size(encoded, BYTES_PER_REQUEST):
            group = [data for i in indices if isinstance(data := encoded[i], bytes)]
            for i, result in zip(indices, await self._predict_group(group, options), strict=True):
                results[i] = result
        return [result for result in results if not isinstance(result, bytes)]

    async def _predict_group(self, pictures: Sequence[bytes], options: PredictOptions) -> list[Result]:
        """Sends one request. Pictures that only failed because of the group, or with a 503, are sent again alone."""
        if len(pictures) == 1:
            return [await self._predict_or_error(pictures[0], options)]
        try:
            response = await self._post("/predict/batch", options, files=[("files", data) for data in pictures])
            entries = _parse(Predictions, response).predictions
        except (BodyTooLarge, TooManyPictures):
            return [await self._predict_or_error(data, options) for data in pictures]
        except ServiceError as error:
            return [error] * len(pictures)
        results: list[Result] = [e if isinstance(e, Prediction) else error_from_problem(e.error) for e in entries]
        for i, result in enumerate(results):
            if isinstance(result, Unavailable):
                results[i] = await self._predict_or_error(pictures[i], options)
        return results

    async def _predict_or_error(self, data: bytes, options: PredictOptions) -> Result:
        try:
            return await self._predict(data, options)
        except ServiceError as error:
            return error

    async def _predict(self, data: bytes, options: PredictOptions) -> Prediction:
        return _parse(Prediction, await self._post("/predict", options, content=data, headers=RAW_BODY))

    async def _post(self, path: str, options: PredictOptions, **body: Any) -> httpx.Response:
        """Sends a request, with retries, and returns the successful response. Raises ServiceError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        params = {name: value for name, value in options.items() if value is not None}
        for attempt in range(self.attempts):
            retry_after: float | None = None
            try:
                response = await self._request_once("POST", path, deadline, params=params, **body)
                if response.is_success:
                    return response
                failure, retry_after = error_from_response(response), retry_after_seconds(response)
            except ConnectionFailed as error:
                failure = error
            retryable = isinstance(failure, ConnectionFailed) or failure.status == Unavailable.status
            backoff = random.uniform(0, min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**attempt))  # noqa: S311
            pause = (retry_after or 0) + backoff
            if not retryable or attempt + 1 == self.attempts or loop.time() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        raise failure

    async def _request_once(self, method: str, path: str, deadline: float, **content: Any) -> httpx.Response:
        """Sends a request without retries. Raises ConnectionFailed or TimedOut."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._http.request(method, path, **content)
        except TimeoutError:
            raise TimedOut(f"no answer from {self._http.base_url} within {self.timeout:g} s") from None
        except httpx.TransportError as error:
            raise ConnectionFailed(f"{self._http.base_url}: {error or type(error).__name__}") from error


def _parse(model: type[M], response: httpx.Response) -> M:
    """Parses a JSON body. Raises ServiceError for any other body."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise error_from_response(response) from None


async def _encode_all(pictures: Sequence[Picture]) -> list[bytes | UnreadablePicture]:
    """Encodes in a thread, so that the event loop goes on."""
    return await asyncio.to_thread(lambda: [encode_or_error(picture) for picture in pictures])


async def _encode_one(picture: Picture) -> bytes:
    """As `_encode_all` for one picture. Raises UnreadablePicture."""
    (data,) = await _encode_all([picture])
    if isinstance(data, UnreadablePicture):
        raise data
    return data
