"""`classify`: rows from the engine or a server, onto standard output, with the progress on standard error."""

import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.rows import Row, Writer


def write_all(batches: Iterable[list[Row]], total: int, writer: Writer) -> bool:
    """Whether every row is without an error."""
    console = Console(stderr=True)
    errors, started = 0, time.monotonic()
    with _progress(console) as progress:
        task = progress.add_task("pictures", total=total)
        for rows in batches:
            writer.write(rows)
            errors += sum(row.error is not None for row in rows)
            progress.advance(task, len(rows))
    writer.finish()
    seconds = time.monotonic() - started
    done = f"{_count(total, 'picture')}, {_count(errors, 'error')}"
    console.print(f"{done}, {seconds:.1f} s, {total / seconds:.0f} pictures/s", highlight=False)
    return not errors


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
