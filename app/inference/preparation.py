"""Prepares pictures for the engine: opens, decodes and preprocesses tiny ones in the event loop, others in threads."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from app.errors import DeadlinePassed, ServiceError
from app.images.decode import Picture, decode_and_preprocess, open_inline, open_picture
from app.images.memory_budget import DecodeBudget
from app.inference.cpu import usable_cores
from app.inference.loop_throttle import LoopThrottle
from app.inference.stage_tracer import StageTracer
from app.metrics import Metrics
from model.preprocess import BackgroundOption, Mode, Pixels, Preprocessed

if TYPE_CHECKING:  # also used without the web framework
    from app.settings import Settings

MAX_INLINE_BYTES = 4 * 1024
"""A file up to this size may be opened in the event loop. A tiny picture is decoded there, too."""

MAX_INLINE_FILES = 16
"""A tensor with more files has all of them decoded in threads."""

MAX_LARGEST_DECODES = 4
"""Pictures of the largest size allowed that are decoded at a time, on any number of cores: a limit on memory."""


class Prepared(NamedTuple):
    """A preprocessed picture, time.monotonic() when its decoding began, and how long it took with preprocessing."""

    preprocessed: Preprocessed
    started: float
    seconds: float


class Preparation:
    """Owns the decoding threads. `crowded` says whether many requests are about to be refused."""

    def __init__(self, settings: "Settings", metrics: Metrics, crowded: Callable[[], bool]) -> None:
        self.tracer: StageTracer | None = None
        self._settings, self._metrics = settings, metrics
        self._inline = LoopThrottle(crowded)
        self._budget = DecodeBudget(MAX_LARGEST_DECODES)
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")

    @property
    def waiting(self) -> int:
        """Pictures that wait to be decoded in the event loop."""
        return self._inline.waiting

    async def prepare(
        self, data: bytes, mode: Mode, background: BackgroundOption, deadline: float, inline: bool = True
    ) -> Prepared:
        """Prepares a file by `deadline` (time.monotonic() seconds), in the event loop only if `inline`.

        Raises DeadlinePassed, and what opening and decoding raise (app.images.decode).
        """
        prepared: Prepared | Picture | bytes = data
        if inline and len(data) <= MAX_INLINE_BYTES:
            prepared = await self._inline.run(lambda: self._prepare_tiny(data, mode, background))
        if not isinstance(prepared, Prepared):
            loop, started = asyncio.get_running_loop(), time.monotonic()
            try:
                async with asyncio.timeout_at(loop.time() + deadline - started):
                    preprocessed = await loop.run_in_executor(
                        self._threads, self._prepare_any, prepared, mode, background
                    )
            except TimeoutError:
                raise DeadlinePassed("the picture was not decoded in time") from None
            prepared = Prepared(preprocessed, started, time.monotonic() - started)
        self._metrics.decoded(prepared.seconds)
        if self.tracer is not None:
            self.tracer.decoded(prepared.started, prepared.started + prepared.seconds)
        return prepared

    async def prepare_or_error(
        self,
        picture: bytes | Preprocessed,
        mode: Mode,
        background: BackgroundOption,
        deadline: float,
        inline: bool = True,
    ) -> Prepared | ServiceError:
        """As `prepare`, but returns the error. A picture that is preprocessed already stays as it is."""
        if isinstance(picture, Preprocessed):
            return Prepared(picture, 0.0, 0.0)
        try:
            return await self.prepare(picture, mode, background, deadline, inline)
        except ServiceError as error:
            return error

    async def prepare_all(self, files: Sequence[bytes], deadline: float) -> list[Pixels]:
        """Raises the error of the first unusable file. Many files are not decoded inline: that would block the loop."""
        inline = len(files) <= MAX_INLINE_FILES
        prepared = await asyncio.gather(
            *(self.prepare_or_error(data, "auto", "auto", deadline, inline) for data in files)
        )
        for i, entry in enumerate(prepared):
            if isinstance(entry, ServiceError):
                entry.detail = f"image[{i}]: {entry.detail}"
                raise entry
        return [entry.preprocessed.pixels for entry in prepared if isinstance(entry, Prepared)]

    def stop(self) -> None:
        self._threads.shutdown(wait=False)

    def _prepare_tiny(self, data: bytes, mode: Mode, background: BackgroundOption) -> Prepared | Picture | bytes:
        """A picture that is not tiny is only opened, and a file that may be slow to open is returned as it is."""
        started = time.monotonic()
        picture = open_inline(data, self._settings.max_pixels)
        if picture is None or not picture.is_tiny:
            return picture or data
        return Prepared(decode_and_preprocess(picture, mode, background), started, time.monotonic() - started)

    def _prepare_any(self, data: bytes | Picture, mode: Mode, background: BackgroundOption) -> Preprocessed:
        picture = data if isinstance(data, Picture) else open_picture(data, self._settings.max_pixels)
        with self._budget.reserve(picture.budget_share):
            return decode_and_preprocess(picture, mode, background)
