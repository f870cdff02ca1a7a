"""Settings → uvicorn."""

import contextlib
import logging.config
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from socket import socket

from pydantic import ValidationError

from app.http.server import Config, Server
from app.http.supervisor import Supervisor, bind
from app.inference.cpu import WORKERS_VARIABLE
from app.logs import configuration
from app.main import create_app
from app.metrics import FOLDER
from app.settings import Settings, validation_message

FAILED = 1
"""Exit status of a start that failed, but for 2, a setting that is wrong."""

MANY_FILES = 65_536
"""Open files that are enough for anybody."""

METRICS_FILE = 1024 * 1024
"""Bytes of one worker's file of figures."""

METRICS_ROOM = 64 * 1024 * 1024
"""Bytes that have to be free for the workers' metrics."""


def start() -> int:
    """What the process exits with."""
    try:
        settings = Settings()
    except ValidationError as error:
        print(validation_message(error), file=sys.stderr)
        return 2
    try:
        port = bind(settings.host, settings.port)
    except OSError as error:
        print(f"GOOGLENET_HOST={settings.host}, GOOGLENET_PORT={settings.port}: {error}", file=sys.stderr)
        return FAILED
    logging.config.dictConfig(configuration(settings.log_format))
    _raise_file_limit()
    if settings.workers == 1:
        port.close()  # it can be had: uvicorn takes it itself
        return _serve(settings)
    os.environ[WORKERS_VARIABLE] = str(settings.workers)  # for the workers, which inherit it
    with contextlib.ExitStack() as stack:
        try:
            os.environ[FOLDER] = stack.enter_context(_metrics_folder())
        except OSError as error:
            logging.getLogger(__name__).warning("no room for the workers' metrics, each shows its own: %s", error)
        return _supervise(settings, port)


@contextlib.contextmanager
def _metrics_folder() -> Iterator[str]:
    """Where the workers add up their figures. Raises OSError where nothing can be written.

    The files there are memory that is mapped: where the disk has no room, touching it would end the worker.
    """
    with tempfile.TemporaryDirectory(prefix="googlenet-metrics-", ignore_cleanup_errors=True) as folder:
        if shutil.disk_usage(folder).free < METRICS_ROOM:
            raise OSError(f"{folder} has less than {METRICS_ROOM} bytes left")
        trial = Path(folder) / "trial"
        trial.write_bytes(bytes(METRICS_FILE))
        trial.unlink()
        yield folder


def _serve(settings: Settings) -> int:
    """One process."""
    server = Server(Config(create_app(settings), settings, configuration(settings.log_format)))
    with contextlib.suppress(KeyboardInterrupt, SystemExit):  # uvicorn's own, of a start that failed
        server.run()
    return 0 if server.started else FAILED


def _supervise(settings: Settings, port: socket) -> int:
    """A supervisor that keeps `workers` processes alive behind one port."""
    supervisor = Supervisor(Config("app.main:app", settings, configuration(settings.log_format)), [port])
    supervisor.run()
    return supervisor.status


def _raise_file_limit() -> None:
    """As many open connections as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
