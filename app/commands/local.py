"""Files → rows at the engine's speed, without a server.

files ─ decode ─ preprocess ─ batch ─ engine ─ labels ─ rows
        └ processes, a batch each ┘      └ its lanes ┘   └ the caller

In order, and never more than a few batches in memory. Decoding small files is mostly Python, in which threads get into
each other's and the engine's way.
"""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from app.commands.files import STDIN, read_stdin
from app.commands.rows import Row
from app.cores import usable_cores
from app.decode import open_picture, prepare
from app.engine import Engine, lanes
from app.errors import ServiceError
from app.scores import Scores, righted, score, turns
from model.checkpoint import Checkpoint
from model.preprocess import SIZE, Ground, Mode

BATCH = 64
"""Pictures that are decoded by one process and then computed together …"""

GPU_BATCH = 256
"""… and on a GPU."""

MANY = 200
"""More files than this are decoded by processes."""

AHEAD = 3
"""Batches, for each core, that may be under way."""

Turned = tuple[Scores, int]
"""What is said of a picture, and the degrees by which it was turned for that."""

Told = tuple[str, bool, bool] | str
"""Of one picture: mode, inverted and certain, or its error."""


@dataclass(frozen=True)
class Wanted:
    """What is the same for all pictures."""

    max_pixels: int
    probabilities: bool
    mode: Mode
    background: Ground


@dataclass(frozen=True)
class Batch:
    """Files that were decoded together."""

    paths: Sequence[str]
    told: list[Told]
    """One for each path."""
    pixels: NDArray[np.uint8]
    """Of those without an error, uint8 [n,96,96]."""


def classify_files(
    engine: Engine, checkpoint: Checkpoint, paths: Sequence[str], wanted: Wanted, decoders: Executor
) -> Iterator[list[Row]]:
    """The rows of each batch, in the order of the paths. Ends the decoders."""
    size = GPU_BATCH if engine.device == "cuda" else BATCH
    ahead = AHEAD * usable_cores()
    running: deque[Future[tuple[Batch, list[Turned]]]] = deque()
    computer = ThreadPoolExecutor(lanes(engine), "engine")

    def compute(decoded: "Future[Batch]") -> tuple[Batch, list[Turned]]:
        batch = decoded.result()
        return batch, _scores(engine, checkpoint, batch.pixels, wanted.mode) if len(batch.pixels) else []

    try:
        for start in range(0, len(paths), size):
            decoded = decoders.submit(decode, paths[start : start + size], wanted)
            running.append(computer.submit(compute, decoded))
            if len(running) > ahead:
                yield _rows(*running.popleft().result(), checkpoint.metadata.classes, wanted)
        while running:
            yield _rows(*running.popleft().result(), checkpoint.metadata.classes, wanted)
    finally:
        computer.shutdown(wait=False, cancel_futures=True)
        decoders.shutdown(wait=False, cancel_futures=True)


def _scores(engine: Engine, checkpoint: Checkpoint, pixels: NDArray[np.uint8], mode: Mode) -> list[Turned]:
    """As the service has them: what looks strange, or nearly so, may be turned by quarters."""
    found = [(scores, 0) for scores in score(engine, checkpoint, pixels)]
    doubtful = [i for i, (scores, _) in enumerate(found) if scores.doubtful] if mode == "auto" else []
    if doubtful:
        turned = iter(score(engine, checkpoint, np.stack([turn for i in doubtful for turn in turns(pixels[i])])))
        for i in doubtful:
            found[i] = righted(found[i][0], [next(turned), next(turned), next(turned)])
    return found


def start_decoders(paths: Sequence[str], device: str) -> Executor:
    """Processes if there is much to do: they are forked, so this comes before the engine, which has threads."""
    if len(paths) <= MANY or STDIN in paths:
        return ThreadPoolExecutor(usable_cores(), "decode")
    method = "fork" if sys.platform == "linux" else "spawn"
    # on a CPU the engine needs most of the cores: it takes several times as long for a picture
    pool = ProcessPoolExecutor(max(1, usable_cores() // (1 if device == "cuda" else 2)), get_context(method))
    pool.submit(int).result()
    return pool


def decode(paths: Sequence[str], wanted: Wanted) -> Batch:
    """Reads and prepares; what cannot be used is an error in its place."""
    told: list[Told] = []
    pictures: list[NDArray[np.uint8]] = []
    for path in paths:
        try:
            prepared = prepare(open_picture(_read(path), wanted.max_pixels), wanted.mode, wanted.background)
        except OSError as error:
            told.append(f"unreadable: {error.strerror or error}")
        except ServiceError as error:
            told.append(f"{error.code}: {error.detail}")
        else:
            told.append((prepared.mode, prepared.inverted, prepared.certain))
            pictures.append(prepared.pixels)
    return Batch(paths, told, np.stack(pictures) if pictures else np.empty((0, SIZE, SIZE), np.uint8))


def _read(path: str) -> bytes:
    if path == STDIN:
        return read_stdin()
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _rows(batch: Batch, scores: list[Turned], classes: Sequence[str], wanted: Wanted) -> list[Row]:
    rows, remaining = [], iter(scores)
    for path, told in zip(batch.paths, batch.told, strict=True):
        if isinstance(told, str):
            rows.append(Row(path, error=told))
            continue
        scored, degrees = next(remaining)
        values = [round(value, 6) for value in scored.probabilities.tolist()]
        confidence = max(values)
        best = values.index(confidence)
        strange = None if scored.ood_score is None else round(scored.ood_score, 4)
        rows.append(Row(path, classes[best], best, confidence, scored.out_of_distribution, strange, *told, degrees))
        if wanted.probabilities:
            rows[-1].probabilities = values
    return rows
