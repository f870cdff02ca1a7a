"""Files → rows by a running server."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Unpack

from app.cli.paths import STDIN, read_stdin
from app.cli.rows import Row
from app.client import Asked, Client, Picture, Result
from app.errors import ServiceError

TOGETHER = 64
"""Rows that are handed on at a time."""


def classify_by_server(
    client: Client, paths: Sequence[str], probabilities: bool, **asked: Unpack[Asked]
) -> Iterator[list[Row]]:
    """The rows, in the order of the paths. Raises NoAnswer if the server cannot be reached at all."""
    client.health()
    pictures: Iterator[Picture] = (read_stdin() if path == STDIN else Path(path) for path in paths)
    rows: list[Row] = []
    for path, result in zip(paths, client.stream(pictures, **asked), strict=True):
        rows.append(_row(path, result, probabilities))
        if len(rows) == TOGETHER:
            yield rows
            rows = []
    yield rows


def _row(path: str, result: Result, probabilities: bool) -> Row:
    if isinstance(result, ServiceError):
        return Row(path, error=f"{result.code}: {result.detail}")
    how = result.preprocessing
    strange = (result.out_of_distribution, result.ood_score)
    row = Row(path, result.label, result.class_id, result.confidence, *strange, how.mode, how.inverted, how.certain)
    row.rotation = how.rotation
    if probabilities:
        row.probabilities = tuple(result.probabilities.values())
    return row
