"""Classifies files in this process, without a server, at the engine's full speed.

Pools of processes or threads decode and preprocess batches of files; threads, one per lane of the engine, compute them.
Batches stay in order, and only a few are in memory at once. Large jobs decode in processes: decoding small files is
mostly Python code, and threads would wait for each other at Python's global lock (the GIL).
"""

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from app.cli.input_files import STDIN, read_stdin
from app.cli.output import Row
from app.errors import BodyTooLarge, ServiceError
from app.images.decode import decode_and_preprocess, open_picture
from app.inference.cpu import usable_cores
from app.inference.engines.base import Engine, lanes
from app.inference.quarter_turns import choose_turn, rotate_by_quarters, unclear_pictures
from app.inference.scores import Scores, score
from model.checkpoint import Checkpoint
from model.preprocess import SIZE, BackgroundOption, Mode

CPU_BATCH_SIZE, GPU_BATCH_SIZE = 64, 256

PROCESS_POOL_MIN_FILES = 200
"""With more files than this, processes decode instead of threads."""

BATCHES_AHEAD_PER_CORE = 3
"""Batches that may be submitted before the oldest one is finished."""

RotatedScores = tuple[Scores, int]
"""Scores of a picture, and the degrees by which it was rotated to get them."""


@dataclass(frozen=True)
class ClassifyOptions:
    """Options that apply to every file."""

    max_pixels: int
    max_bytes: int
    probabilities: bool
    mode: Mode
    background: BackgroundOption


@dataclass(frozen=True)
class DecodedBatch:
    """Files that were decoded together."""

    rows: list[Row]
    """One for each file. Each has an error, or how the picture was preprocessed."""
    pixels: NDArray[np.uint8]
    """The pictures without an error, uint8 [n,96,96]."""


def classify_files(
    engine: Engine, checkpoint: Checkpoint, paths: Sequence[str], options: ClassifyOptions, decoders: Executor
) -> Iterator[list[Row]]:
    """Yields the rows of each batch, in the order of the paths. Shuts `decoders` down at the end."""
    batch_size = GPU_BATCH_SIZE if engine.device == "cuda" else CPU_BATCH_SIZE
    batches_ahead = BATCHES_AHEAD_PER_CORE * usable_cores()
    running: deque[Future[list[Row]]] = deque()
    engine_threads = ThreadPoolExecutor(lanes(engine), "engine")

    def compute(decoding: "Future[DecodedBatch]") -> list[Row]:
        return _classify_batch(engine, checkpoint, decoding.result(), options)

    try:
        for start in range(0, len(paths), batch_size):
            decoding = decoders.submit(decode, paths[start : start + batch_size], options)
            running.append(engine_threads.submit(compute, decoding))
            if len(running) > batches_ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        engine_threads.shutdown(wait=False, cancel_futures=True)
        decoders.shutdown(wait=False, cancel_futures=True)


def start_decoders(paths: Sequence[str], device: str) -> Executor:
    """Starts the pool that decodes. Call it before the engine is built: a process with threads must not fork."""
    if len(paths) <= PROCESS_POOL_MIN_FILES or STDIN in paths:
        return ThreadPoolExecutor(usable_cores(), "decode")
    method = "fork" if sys.platform == "linux" else "spawn"
    # On a CPU the engine takes several times as long for a picture as decoding does, so it gets half of the cores.
    pool = ProcessPoolExecutor(max(1, usable_cores() // (1 if device == "cuda" else 2)), get_context(method))
    pool.submit(int).result()  # forks now
    return pool


def decode(paths: Sequence[str], options: ClassifyOptions) -> DecodedBatch:
    """Reads, decodes and preprocesses files. A file that cannot be used becomes a row with an error."""
    rows: list[Row] = []
    pictures: list[NDArray[np.uint8]] = []
    for path in paths:
        row = Row(path)
        rows.append(row)
        try:
            prepared = decode_and_preprocess(
                open_picture(_read(path, options.max_bytes), options.max_pixels), options.mode, options.background
            )
        except OSError as error:
            row.error = f"unreadable: {error.strerror or error}"
        except ServiceError as error:
            row.error = f"{error.code}: {error.detail}"
        else:
            row.mode, row.inverted, row.certain = prepared.mode, prepared.inverted, prepared.certain
            pictures.append(prepared.pixels)
    return DecodedBatch(rows, np.stack(pictures) if pictures else np.empty((0, SIZE, SIZE), np.uint8))


def _read(path: str, max_bytes: int) -> bytes:
    """Raises OSError, and BodyTooLarge as the service does."""
    if path == STDIN:
        return read_stdin()
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise BodyTooLarge(f"the file has more than {max_bytes} bytes")
        return file.read()


def _classify_batch(engine: Engine, checkpoint: Checkpoint, batch: DecodedBatch, options: ClassifyOptions) -> list[Row]:
    """Runs the engine and completes the batch's rows."""
    scores = _rotated_scores(engine, checkpoint, batch.pixels, options.mode) if len(batch.pixels) else []
    usable_rows = (row for row in batch.rows if row.error is None)
    for row, (scored, degrees) in zip(usable_rows, scores, strict=True):
        probabilities = [round(value, 6) for value in scored.probabilities.tolist()]
        row.class_id = scored.class_id
        row.confidence = probabilities[row.class_id]
        row.label = checkpoint.metadata.classes[row.class_id]
        row.out_of_distribution = scored.out_of_distribution
        row.ood_score = None if scored.ood_score is None else round(scored.ood_score, 4)
        row.rotation = degrees
        if options.probabilities:
            row.probabilities = probabilities
    return batch.rows


def _rotated_scores(
    engine: Engine, checkpoint: Checkpoint, pixels: NDArray[np.uint8], mode: Mode
) -> list[RotatedScores]:
    """Scores each picture as the service does: a picture unlike a garment is also tried in its quarter turns."""
    results = score(engine, checkpoint, pixels)
    chosen = [(scores, 0) for scores in results]
    unclear = unclear_pictures(results, [mode == "auto"] * len(results))
    if unclear:
        rotated = np.concatenate([rotate_by_quarters(pixels[i]) for i in unclear])
        found = iter(score(engine, checkpoint, rotated))
        for i in unclear:
            chosen[i] = choose_turn(results[i], [next(found), next(found), next(found)])
    return chosen
