"""One picture, one row: what it says, and writing many as CSV, as lines of JSON or as a table."""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol, TextIO

from rich.console import Console
from rich.table import Table

SHOWN = 50
"""Rows of the table for people; more are counted by label."""


@dataclass(slots=True)
class Row:
    """One line of the output; None where there is nothing to say. The fields are the columns."""

    path: str
    label: str | None = None
    class_id: int | None = None
    confidence: float | None = None
    out_of_distribution: bool | None = None
    ood_score: float | None = None
    mode: str | None = None
    inverted: bool | None = None
    certain: bool | None = None
    rotation: int | None = None
    error: str | None = None
    """`code: detail` where there is no prediction."""
    probabilities: Sequence[float] = ()
    """In class order; not a column, or one for each class."""


COLUMNS = tuple(field.name for field in fields(Row) if field.name != "probabilities")


class Writer(Protocol):
    """Takes the rows as they come."""

    def write(self, rows: Iterable[Row]) -> None: ...

    def finish(self) -> None: ...


def make_writer(kind: str, classes: Sequence[str]) -> Writer:
    """csv, json or table on standard output, with the probabilities of these classes."""
    if kind == "table":
        return TableWriter(classes)
    return CsvWriter(sys.stdout, classes) if kind == "csv" else JsonWriter(sys.stdout, classes)


class CsvWriter:
    """RFC 4180 with a header; true and false, empty where there is nothing. Classes are further columns."""

    def __init__(self, file: TextIO, classes: Sequence[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow((*COLUMNS, *classes))
        self._file = file

    def write(self, rows: Iterable[Row]) -> None:
        self._writer.writerows(
            [_spelt(value) for value in (*(getattr(row, name) for name in COLUMNS), *row.probabilities)] for row in rows
        )

    def finish(self) -> None:
        self._file.flush()


class JsonWriter:
    """An object a line, keys as the columns; with classes, `probabilities` by class."""

    def __init__(self, file: TextIO, classes: Sequence[str]) -> None:
        self._file, self._classes = file, classes

    def write(self, rows: Iterable[Row]) -> None:
        lines = []
        for row in rows:
            entry = {name: getattr(row, name) for name in COLUMNS}
            if self._classes and row.probabilities:
                entry["probabilities"] = dict(zip(self._classes, row.probabilities, strict=True))
            lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.writelines(lines)

    def finish(self) -> None:
        self._file.flush()


class TableWriter:
    """For people: the first rows and every error, and where there are more, how many of each label."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._rows: list[Row] = []
        self._labels: Counter[str] = Counter()

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.label is not None:
                self._labels[row.label] += 1
            if len(self._rows) < SHOWN or (row.error is not None and len(self._rows) < 2 * SHOWN):
                self._rows.append(row)

    def finish(self) -> None:
        console = Console(file=sys.stdout)
        table = Table("path", "label", "confidence", "remarks", *self._classes)
        for row in self._rows:
            confidence = "" if row.confidence is None else f"{100 * row.confidence:.1f} %"
            table.add_row(
                *(row.path, row.label or "", confidence, _remarks(row)), *(f"{p:.4f}" for p in row.probabilities)
            )
        console.print(table)
        if sum(self._labels.values()) > SHOWN:
            counts = Table("label", "pictures", title="all of them")
            for label, count in self._labels.most_common():
                counts.add_row(label, str(count))
            console.print(counts)


def _remarks(row: Row) -> str:
    unsure = "background hard to tell" if row.certain is False else None
    strange = "perhaps no garment" if row.out_of_distribution else None
    return row.error or ", ".join(filter(None, (strange, unsure)))


def _spelt(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value
