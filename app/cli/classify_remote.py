"""Classifies files through a running service."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack

from app.cli.input_files import STDIN, read_stdin
from app.cli.output import COLUMNS, Row
from app.client import Client, Picture, PredictOptions, Result
from app.errors import ServiceError

ROWS_PER_BATCH = 64


def classify_by_server(
    client: Client, paths: Sequence[str], probabilities: bool, **options: Unpack[PredictOptions]
) -> Iterator[list[Row]]:
    """Yields the rows in the order of the paths. Raises NoResponse if the service cannot be reached at all."""
    client.health()
    pictures: Iterator[Picture] = (read_stdin() if path == STDIN else Path(path) for path in paths)
    rows: list[Row] = []
    for path, result in zip(paths, client.stream(pictures, **options), strict=True):
        rows.append(_row(path, result, probabilities))
        if len(rows) == ROWS_PER_BATCH:
            yield rows
            rows = []
    yield rows


def _row(path: str, result: Result, probabilities: bool) -> Row:
    if isinstance(result, ServiceError):
        return Row(path, error=f"{result.code}: {result.detail}")
    values: dict[str, Any] = {"path": path, "error": None, **dict(result), **dict(result.preprocessing)}
    row = Row(**{name: values[name] for name in COLUMNS})
    if probabilities:
        row.probabilities = tuple(result.probabilities.values())
    return row
