"""The service from Python: `Client`, and `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000") as client:
        print(client.predict("boot.jpg").label)

Whatever fails is a ServiceError; app.client.errors draws the tree.
"""

import asyncio
import random
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack

import httpx
from pydantic import BaseModel, ValidationError

from app.api.schemas import Explanation, Health, Prediction, Predictions
from app.client.encoding import Picture, encode, portions
from app.client.errors import (
    ConnectionFailed,
    NoAnswer,
    OtherAnswer,
    TimedOut,
    Unreadable,
    error_in,
    error_of,
    retry_after,
)
from app.errors import BodyTooLarge, ServiceError, TooManyPictures, Unavailable

__all__ = ["AsyncClient", "Client", "ConnectionFailed", "Explanation", "Health", "NoAnswer", "OtherAnswer", "Picture"]
__all__ += ["Prediction", "Result", "ServiceError", "TimedOut", "Unreadable"]

URL = "http://127.0.0.1:8000"

Result = Prediction | ServiceError
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds: the back-off doubles from the first to the longest, and by chance only a part of it is waited."""

TOGETHER = 16
"""Pictures that go in one request when there are many …"""

TOGETHER_BYTES = 8 * 1024 * 1024
"""… fewer where they have more bytes than this."""


RAW = {"Content-Type": "application/octet-stream"}
"""Of a body that is the picture itself."""


class Asked(TypedDict, total=False):
    """The query of a request; what is left out is the service's default."""

    top_k: int | None
    mode: str | None
    background: str | None
    rotation: str | None


class AsyncClient:
    """For asyncio; use it as an async context manager, in one event loop.

    `timeout` is in seconds and for everything one request takes, its `attempts` and the pauses between them. Only a
    503 and a broken connection are tried again, after the service's Retry-After and a random back-off.
    """

    def __init__(self, url: str = URL, *, api_key: str | None = None, timeout: float = 30.0, attempts: int = 5) -> None:
        if attempts < 1:
            raise ValueError("attempts: at least one is needed")
        self.timeout, self.attempts = timeout, attempts
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=None, limits=httpx.Limits())  # noqa: S113 – timed as a whole, in _once

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def predict(self, picture: Picture, **asked: Unpack[Asked]) -> Prediction:
        """One picture. Raises ServiceError, and TypeError or ValueError for what can be no picture."""
        return await self._predict(await _one(picture), asked)

    async def explain(self, picture: Picture, **asked: Unpack[Asked]) -> Explanation:
        """`predict` with the class activation maps and the picture that the network saw."""
        response = await self._request("/explain", asked, content=await _one(picture), headers=RAW)
        return _read(Explanation, response)

    async def predict_many(
        self, pictures: Iterable[Picture], *, concurrency: int = 4, **asked: Unpack[Asked]
    ) -> list[Result]:
        """As many as there are, in their order; an error stands in the place of a picture that got no prediction.

        `concurrency` requests are under way at once. Raises as `predict` for what can be no picture.
        """
        return [result async for result in self.stream(pictures, concurrency=concurrency, **asked)]

    async def stream(
        self, pictures: Iterable[Picture], *, concurrency: int = 4, **asked: Unpack[Asked]
    ) -> AsyncIterator[Result]:
        """`predict_many` for more than fit into memory: pictures are taken as their turn comes."""
        async for results in self._parts(pictures, concurrency, asked):
            for result in results:
                yield result

    async def health(self) -> Health:
        """What the service says of itself, ready or not. Raises ServiceError if it does not answer that."""
        response = await self._once("GET", "/health", asyncio.get_running_loop().time() + self.timeout)
        return _read(Health, response)

    async def _parts(
        self, pictures: Iterable[Picture], concurrency: int, asked: Asked
    ) -> AsyncGenerator[list[Result], None]:
        """The results by requests, of which so many are under way; what is left of them ends with this generator."""
        remaining = iter(pictures)
        running: deque[asyncio.Task[list[Result]]] = deque()
        try:
            while part := list(islice(remaining, TOGETHER)):
                running.append(asyncio.create_task(self._part(part, asked)))
                if len(running) >= concurrency:
                    yield await running.popleft()
            while running:
                yield await running.popleft()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _part(self, pictures: Sequence[Picture], asked: Asked) -> list[Result]:
        results: list[Result | bytes] = list(await asyncio.to_thread(_encode, pictures))
        for places in portions(results, TOGETHER_BYTES):
            sent = [data for i in places if isinstance(data := results[i], bytes)]
            for i, result in zip(places, await self._send(sent, asked), strict=True):
                results[i] = result
        return [result for result in results if not isinstance(result, bytes)]

    async def _send(self, pictures: Sequence[bytes], asked: Asked) -> list[Result]:
        """One request; what is refused only in such company, or for the moment, is sent again by itself."""
        if len(pictures) == 1:
            return [await self._predict_or_error(pictures[0], asked)]
        try:
            response = await self._request("/predict/batch", asked, files=[("files", data) for data in pictures])
            entries = _read(Predictions, response).predictions
        except (BodyTooLarge, TooManyPictures):
            return [await self._predict_or_error(data, asked) for data in pictures]
        except ServiceError as error:
            return [error] * len(pictures)
        results: list[Result] = [e if isinstance(e, Prediction) else error_of(e.error) for e in entries]
        for i, result in enumerate(results):
            if isinstance(result, Unavailable):
                results[i] = await self._predict_or_error(pictures[i], asked)
        return results

    async def _predict_or_error(self, data: bytes, asked: Asked) -> Result:
        try:
            return await self._predict(data, asked)
        except ServiceError as error:
            return error

    async def _predict(self, data: bytes, asked: Asked) -> Prediction:
        response = await self._request("/predict", asked, content=data, headers=RAW)
        return _read(Prediction, response)

    async def _request(self, path: str, asked: Asked, **body: Any) -> httpx.Response:
        """The successful answer of one of the attempts. Raises ServiceError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        params = {name: value for name, value in asked.items() if value is not None}
        for attempt in range(self.attempts):
            pause: float | None = None
            try:
                response = await self._once("POST", path, deadline, params=params, **body)
                if response.is_success:
                    return response
                failure, pause = error_in(response), retry_after(response)
            except ConnectionFailed as error:
                failure = error
            pause = (pause or 0) + random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))  # noqa: S311
            again = (
                failure.status == Unavailable.status or isinstance(failure, ConnectionFailed)
            ) and attempt + 1 < self.attempts
            if not again or loop.time() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        raise failure

    async def _once(self, method: str, path: str, deadline: float, **content: Any) -> httpx.Response:
        """One attempt. Raises NoAnswer."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._http.request(method, path, **content)
        except TimeoutError:
            raise TimedOut(f"no answer from {self._http.base_url} within {self.timeout:g} s") from None
        except httpx.TransportError as error:
            raise ConnectionFailed(f"{self._http.base_url}: {error or type(error).__name__}") from error


class Client:
    """AsyncClient for everybody else: the same, but its calls return when they are done. Any thread may call.

    It has an event loop in a thread of its own, so it works where another loop already runs, as in a notebook.
    """

    def __init__(self, url: str = URL, *, api_key: str | None = None, timeout: float = 30.0, attempts: int = 5) -> None:
        self._async = AsyncClient(url, api_key=api_key, timeout=timeout, attempts=attempts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends connections and thread; more than once does no harm."""
        if self._loop.is_closed():
            return
        self._run(self._async.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def predict(self, picture: Picture, **asked: Unpack[Asked]) -> Prediction:
        """As AsyncClient.predict."""
        return self._run(self._async.predict(picture, **asked))

    def explain(self, picture: Picture, **asked: Unpack[Asked]) -> Explanation:
        """As AsyncClient.explain."""
        return self._run(self._async.explain(picture, **asked))

    def predict_many(
        self, pictures: Iterable[Picture], *, concurrency: int = 4, **asked: Unpack[Asked]
    ) -> list[Result]:
        """As AsyncClient.predict_many."""
        return self._run(self._async.predict_many(pictures, concurrency=concurrency, **asked))

    def stream(self, pictures: Iterable[Picture], *, concurrency: int = 4, **asked: Unpack[Asked]) -> Iterator[Result]:
        """As AsyncClient.stream."""
        parts = self._async._parts(pictures, concurrency, asked)
        try:
            while results := self._run(_next(parts)):
                yield from results
        finally:
            self._run(parts.aclose())

    def health(self) -> Health:
        """As AsyncClient.health."""
        return self._run(self._async.health())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C above all
            future.cancel()
            raise


def _read(model: type[M], response: httpx.Response) -> M:
    """Raises ServiceError for an answer that is none of these."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise error_in(response) from None


async def _next(parts: AsyncIterator[list[Result]]) -> list[Result]:
    """Empty when there are no more."""
    return await anext(parts, [])


async def _one(picture: Picture) -> bytes:
    """Its bytes. Raises Unreadable, TypeError or ValueError."""
    (data,) = await asyncio.to_thread(_encode, [picture])
    if isinstance(data, Unreadable):
        raise data
    return data


def _encode(pictures: Sequence[Picture]) -> list[bytes | Unreadable]:
    return [_encode_one(picture) for picture in pictures]


def _encode_one(picture: Picture) -> bytes | Unreadable:
    try:
        return encode(picture)
    except OSError as error:
        return Unreadable(f"{error.strerror or error}")
