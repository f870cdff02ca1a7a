"""Starts the server that the settings ask for: one process, or workers under a supervisor."""

import contextlib
import logging
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from app.http.server import Server
from app.http.supervisor import Supervisor, bind
from app.inference.cpu import WORKERS_VARIABLE
from app.logs import configure
from app.main import create_app
from app.metrics import MULTIPROC_DIR
from app.settings import Settings, validation_message

START_FAILED, WRONG_SETTING = 1, 2
"""Exit statuses."""

MAX_OPEN_FILES = 65_536

METRICS_FILE_BYTES = 1024 * 1024
"""Size of one worker's metrics file."""

METRICS_FREE_BYTES = 64 * 1024 * 1024
"""Disk space that has to be free for the workers' metrics."""


def serve() -> int:
    """Serves until a signal ends it. Returns the exit status."""
    try:
        settings = Settings()
    except ValidationError as error:
        print(validation_message(error), file=sys.stderr)
        return WRONG_SETTING
    try:
        port = bind(settings.host, settings.port)
    except OSError as error:
        print(f"GOOGLENET_HOST={settings.host}, GOOGLENET_PORT={settings.port}: {error}", file=sys.stderr)
        return START_FAILED
    try:
        if settings.grpc_port is not None:
            bind(settings.host, settings.grpc_port).close()  # a check: workers would share it with another service
    except OSError as error:
        print(f"GOOGLENET_HOST={settings.host}, GOOGLENET_GRPC_PORT={settings.grpc_port}: {error}", file=sys.stderr)
        return START_FAILED
    configure(settings.log_format)
    _raise_file_limit()
    if settings.workers == 1:
        port.close()  # uvicorn binds it itself; this was the check that it can
        server = Server(create_app(settings), settings)
        with contextlib.suppress(KeyboardInterrupt, SystemExit):  # uvicorn's, after a failed start
            server.run()
        return 0 if server.started else START_FAILED
    os.environ[WORKERS_VARIABLE] = str(settings.workers)  # workers read it to share the cores
    with contextlib.ExitStack() as stack:
        try:
            os.environ[MULTIPROC_DIR] = stack.enter_context(_metrics_directory())
        except OSError as error:
            logging.getLogger(__name__).warning("no room for the workers' metrics, each shows its own: %s", error)
        return Supervisor(settings, port).run()


@contextlib.contextmanager
def _metrics_directory() -> Iterator[str]:
    """A directory in which workers share their metrics. Raises OSError if files cannot be written there.

    The files are memory-mapped: on a full disk, writing to them would kill a worker with SIGBUS.
    """
    with tempfile.TemporaryDirectory(prefix="googlenet-metrics-", ignore_cleanup_errors=True) as directory:
        if shutil.disk_usage(directory).free < METRICS_FREE_BYTES:
            raise OSError(f"{directory} has less than {METRICS_FREE_BYTES} bytes left")
        trial = Path(directory) / "trial"
        trial.write_bytes(bytes(METRICS_FILE_BYTES))
        trial.unlink()
        yield directory


def _raise_file_limit() -> None:
    """Allows as many open connections as the system permits, up to MAX_OPEN_FILES."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
