"""Client: the client for ordinary code, without asyncio."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any, Self, TypeVar, Unpack

from app.api.schemas import Explanation, Health, Prediction
from app.client.async_client import DEFAULT_URL, AsyncClient, PredictOptions, Result
from app.client.encoding import Picture
from app.client.errors import ConnectionFailed

T = TypeVar("T")


class Client:
    """As AsyncClient, with calls that block until they are done. Any thread may call it.

    It runs its own event loop in its own thread, so it also works where another loop is running, as in a notebook.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, api_key: str | None = None, timeout: float = 30.0, attempts: int = 5
    ) -> None:
        self._async = AsyncClient(url, api_key=api_key, timeout=timeout, attempts=attempts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections and ends the thread. May be called more than once."""
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def predict(self, picture: Picture, **options: Unpack[PredictOptions]) -> Prediction:
        """As AsyncClient.predict."""
        return self._run(self._async.predict(picture, **options))

    def explain(self, picture: Picture, **options: Unpack[PredictOptions]) -> Explanation:
        """As AsyncClient.explain."""
        return self._run(self._async.explain(picture, **options))

    def predict_many(
        self, pictures: Iterable[Picture], *, concurrency: int = 4, **options: Unpack[PredictOptions]
    ) -> list[Result]:
        """As AsyncClient.predict_many."""
        return self._run(self._async.predict_many(pictures, concurrency=concurrency, **options))

    def stream(
        self, pictures: Iterable[Picture], *, concurrency: int = 4, **options: Unpack[PredictOptions]
    ) -> Iterator[Result]:
        """As AsyncClient.stream."""
        batches = self._async.stream_batches(pictures, concurrency, options)
        try:
            while results := self._run(_next_or_empty(batches)):
                yield from results
        finally:
            self._run(batches.aclose())

    def health(self) -> Health:
        """As AsyncClient.health."""
        return self._run(self._async.health())

    async def _close(self) -> None:
        """Ends the calls of other threads, which raise ConnectionFailed, then closes the connections."""
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._async.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Raises what `work` raises, and ConnectionFailed if the client is closed meanwhile."""
        if not self._thread.is_alive():  # threads do not survive a fork
            work.close()
            raise ConnectionFailed("the client is closed, or was made before a fork: make one in each process")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ConnectionFailed("the client was closed") from None
        except BaseException:  # includes Ctrl-C
            future.cancel()
            raise


async def _next_or_empty(batches: AsyncIterator[list[Result]]) -> list[Result]:
    return await anext(batches, [])
