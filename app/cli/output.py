"""Output of `classify`: one row per picture, written as CSV, JSON lines or a table, with progress on standard error."""

import csv
import json
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

TABLE_ROWS = 50
"""Rows that the table shows. If there are more, a second table counts the pictures of each label."""


@dataclass(slots=True)
class Row:
    """One line of the output. Its fields are the columns; None is an empty column."""

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
    """`code: detail` of a picture without a prediction."""
    probabilities: Sequence[float] = ()
    """In class order. With --probabilities each class is a column; otherwise this is empty and no column."""


COLUMNS = tuple(field.name for field in fields(Row) if field.name != "probabilities")


class Writer(ABC):
    """Writes rows to standard output as they come, and what remains at the end."""

    def __init__(self, classes: Sequence[str]) -> None:
        """`classes` are those whose probabilities are written, or empty."""
        self.classes = classes

    @abstractmethod
    def write(self, rows: Iterable[Row]) -> None: ...

    def finish(self) -> None:
        sys.stdout.flush()


class CsvWriter(Writer):
    """CSV as in RFC 4180, with a header. Booleans are true and false. The classes are the last columns."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(classes)
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._writer.writerow((*COLUMNS, *classes))

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            values = (*(getattr(row, name) for name in COLUMNS), *row.probabilities)
            self._writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in values])


class JsonWriter(Writer):
    """One JSON object per line, with the columns as keys. With classes, `probabilities` is an object."""

    def write(self, rows: Iterable[Row]) -> None:
        lines = []
        for row in rows:
            entry = {name: getattr(row, name) for name in COLUMNS}
            if self.classes and row.probabilities:
                entry["probabilities"] = dict(zip(self.classes, row.probabilities, strict=True))
            lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
        sys.stdout.writelines(lines)


class TableWriter(Writer):
    """A table for people: the first rows, the first errors beyond them, and the number of pictures of each label."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(classes)
        self._rows: list[Row] = []
        self._labels: Counter[str] = Counter()

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.label is not None:
                self._labels[row.label] += 1
            if len(self._rows) < TABLE_ROWS or (row.error is not None and len(self._rows) < 2 * TABLE_ROWS):
                self._rows.append(row)

    def finish(self) -> None:
        console = Console(file=sys.stdout, markup=False)
        table = Table("path", "label", "confidence", "remarks", *self.classes)
        for row in self._rows:
            confidence = "" if row.confidence is None else f"{100 * row.confidence:.1f} %"
            table.add_row(
                *(row.path, row.label or "", confidence, _remarks(row)), *(f"{p:.4f}" for p in row.probabilities)
            )
        console.print(table)
        if sum(self._labels.values()) > TABLE_ROWS:
            counts = Table("label", "pictures", title="all of them")
            for label, count in self._labels.most_common():
                counts.add_row(label, str(count))
            console.print(counts)


WRITERS: dict[str, type[Writer]] = {"csv": CsvWriter, "json": JsonWriter, "table": TableWriter}


def write_all(batches: Iterable[list[Row]], total: int, writer: Writer) -> bool:
    """Writes all rows and shows the progress. Returns whether no row has an error."""
    console = Console(stderr=True)
    errors, started = 0, time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("pictures", total=total)
        for rows in batches:
            writer.write(rows)
            errors += sum(row.error is not None for row in rows)
            progress.advance(task, len(rows))
    writer.finish()
    seconds = time.monotonic() - started
    counts = f"{_count(total, 'picture')}, {_count(errors, 'error')}"
    console.print(f"{counts}, {seconds:.1f} s, {total / seconds:.0f} pictures/s", highlight=False)
    return not errors


def _remarks(row: Row) -> str:
    uncertain = "background hard to tell" if row.certain is False else None
    outlier = "perhaps no garment" if row.out_of_distribution else None
    return row.error or ", ".join(filter(None, (outlier, uncertain)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
