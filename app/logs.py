"""One line per thing that happens: text for people, JSON for machines, written many at a time."""

import asyncio
import json
import logging
import sys
import time
import warnings
from typing import Any, Literal

DELAY = 0.05
"""Seconds a line of less than a warning may wait for others, so that they are written together."""


def configuration(style: Literal["text", "json"]) -> dict[str, Any]:
    """For logging.config.dictConfig, in this process and in the workers."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": f"app.logs.{style.capitalize()}"}},
        "handlers": {"stderr": {"()": "app.logs.Together", "formatter": "line"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }


def capture_warnings() -> None:
    """From now on Python's warnings are lines as well."""
    warnings.formatwarning = lambda message, category, *where: f"{category.__name__}: {message}"
    logging.captureWarnings(True)


def record(logger: logging.Logger, fields: dict[str, Any]) -> None:
    """Logs the fields, at a third of what logger.info costs: it looks for no caller."""
    if logger.isEnabledFor(logging.INFO):
        logger.handle(logging.LogRecord(logger.name, logging.INFO, "", 0, fields, None, None))


def flush() -> None:
    """Writes what still waits: for the end of the event loop that would have done so."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class Text(logging.Formatter):
    """2026-01-31 12:00:00,123 INFO app.request: POST /predict 200 3.1 ms …"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._second, self._written = 0, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        if int(record.created) != self._second:
            self._second = int(record.created)
            self._written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{self._written},{int(record.msecs):03}"

    def format(self, record: logging.LogRecord) -> str:
        fields = record.msg
        if not isinstance(fields, dict):
            return super().format(record)
        values = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None and name not in HEAD)
        head = " ".join(str(fields[name]) for name in HEAD)
        return f"{self.formatTime(record)} {record.levelname} {record.name}: {head} ms {values}"


HEAD = ("method", "route", "status", "ms")
"""The fields of a request that need no name."""


class Json(logging.Formatter):
    """{"time": 1769860800.123, "level": "INFO", "logger": "app.request", …}"""

    def format(self, record: logging.LogRecord) -> str:
        fields = record.msg if isinstance(record.msg, dict) else {"message": record.getMessage()}
        line = {"time": round(record.created, 3), "level": record.levelname, "logger": record.name, **fields}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Together(logging.Handler):
    """To stderr, the lines of a few milliseconds in one write; one that cannot be written to is no reason to end."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[logging.LogRecord] = []
        self._waiting = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the record; formatting many in a row takes less time than one between other things."""
        self._records.append(record)
        if self._waiting and record.levelno < logging.WARNING:
            return
        try:
            loop = asyncio.get_running_loop() if record.levelno < logging.WARNING else None
        except RuntimeError:  # not in the event loop's thread
            loop = None
        if loop is None:
            self.flush()
        else:
            self._waiting = True
            loop.call_later(DELAY, self.flush)

    def flush(self) -> None:
        """Writes what waits."""
        with self.lock or logging._lock:  # type: ignore[attr-defined]
            records, self._records, self._waiting = self._records, [], False
            lines = "".join(self._line(record) for record in records)
            if lines:
                try:
                    sys.stderr.write(lines)
                    sys.stderr.flush()
                except (OSError, ValueError):  # a full disk, a closed pipe
                    pass

    def _line(self, record: logging.LogRecord) -> str:
        """Nothing for a record that cannot be formatted, which logging then reports."""
        try:
            return self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return ""
