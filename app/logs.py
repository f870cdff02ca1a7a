"""Log lines as text for people or JSON for machines, written to stderr in batches."""

import asyncio
import json
import logging
import logging.config
import sys
import time
import warnings
from typing import Any, Literal

MAX_DELAY = 0.05
"""Seconds for which a line below WARNING may be held back, to be written together with others."""

UNNAMED_FIELDS = ("method", "route", "status", "ms")
"""Fields of a request's line that text shows without their names, in this order."""


def configure(style: Literal["text", "json"]) -> None:
    """Sets up the logging of this process, Python's warnings included."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"()": {"text": TextFormatter, "json": JsonFormatter}[style]}},
            "handlers": {"stderr": {"()": BatchingHandler, "formatter": "line"}},
            "root": {"level": "INFO", "handlers": ["stderr"]},
            "loggers": {"uvicorn.access": {"propagate": False}},  # app.middleware.request_log logs requests
        }
    )
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no format shows them
    logging.logAsyncioTasks = False  # type: ignore[attr-defined,unused-ignore]  # Python 3.12
    warnings.formatwarning = lambda message, category, *where: f"{category.__name__}: {message}"
    logging.captureWarnings(True)
    warnings.filterwarnings("ignore", module="PIL")  # they quote the pictures of clients, and each is kept for ever
    for name in ("opentelemetry.trace.span", "opentelemetry.trace.propagation.tracecontext"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they quote headers of clients


def log_fields(logger: logging.Logger, fields: dict[str, Any]) -> None:
    """Logs the fields at INFO. A third of the cost of logger.info, which looks up its caller."""
    if logger.isEnabledFor(logging.INFO):
        logger.handle(logging.LogRecord(logger.name, logging.INFO, "", 0, fields, None, None))


def flush() -> None:
    """Writes the lines that are held back. For the end of the event loop, whose timer would write them."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class TextFormatter(logging.Formatter):
    """2026-01-31 12:00:00,123 INFO app.request: POST /predict 200 3.1 ms …"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._second, self._formatted_second = 0, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        if int(record.created) != self._second:
            self._second = int(record.created)
            self._formatted_second = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{self._formatted_second},{int(record.msecs):03}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line before a traceback."""
        return super().formatMessage(record) + "".join(f" {k}={v}" for k, v in _trace_id(record).items())

    def format(self, record: logging.LogRecord) -> str:
        fields = record.msg
        if not isinstance(fields, dict):
            return super().format(record)
        unnamed = " ".join(str(fields[name]) for name in UNNAMED_FIELDS)
        named = " ".join(
            f"{k}={v}" for k, v in (fields | _trace_id(record)).items() if v is not None and k not in UNNAMED_FIELDS
        )
        return f"{self.formatTime(record)} {record.levelname} {record.name}: {unnamed} ms {named}"


class JsonFormatter(logging.Formatter):
    """{"time": 1769860800.123, "level": "INFO", "logger": "app.request", …}"""

    def format(self, record: logging.LogRecord) -> str:
        fields = record.msg if isinstance(record.msg, dict) else {"message": record.getMessage()}
        line = {"time": round(record.created, 3), "level": record.levelname, "logger": record.name, **fields}
        line |= _trace_id(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _trace_id(record: logging.LogRecord) -> dict[str, str]:
    """The field `trace_id`, if app.tracing has set it."""
    return {"trace_id": record.trace_id} if hasattr(record, "trace_id") else {}


class BatchingHandler(logging.Handler):
    """Writes to stderr, the lines of some milliseconds at once. A line that cannot be written is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[logging.LogRecord] = []
        self._flush_scheduled = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the record. Formatting many in a row takes less time than formatting each between other work."""
        self._records.append(record)
        if self._flush_scheduled and record.levelno < logging.WARNING:
            return
        try:
            loop = asyncio.get_running_loop() if record.levelno < logging.WARNING else None
        except RuntimeError:  # not in the event loop's thread
            loop = None
        if loop is None:
            self.flush()
        else:
            self._flush_scheduled = True
            loop.call_later(MAX_DELAY, self.flush)

    def flush(self) -> None:
        """Writes the lines that are held back."""
        with self.lock or logging._lock:  # type: ignore[attr-defined]
            records, self._records, self._flush_scheduled = self._records, [], False
            lines = "".join(self._line(record) for record in records)
            if lines:
                try:
                    sys.stderr.write(lines)
                    sys.stderr.flush()
                except (OSError, ValueError):  # a full disk, a closed pipe
                    pass

    def _line(self, record: logging.LogRecord) -> str:
        """Empty for a record that cannot be formatted. logging then prints the error."""
        try:
            return self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return ""
