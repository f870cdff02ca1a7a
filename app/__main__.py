"""python -m app: settings → uvicorn."""

import logging.config
import os
import sys
import tempfile

import uvicorn
from pydantic import ValidationError

from app.cores import WORKERS
from app.main import create_app
from app.metrics import FOLDER
from app.settings import Settings, explain

LOG_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "INFO", "handlers": ["stderr"]},
}
"""For this process and, with several workers, for theirs."""


def main() -> int:
    try:
        settings = Settings()
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        return 2
    logging.config.dictConfig(LOG_CONFIG)
    if settings.workers == 1:
        _serve(settings)
        return 0
    with tempfile.TemporaryDirectory(prefix="googlenet-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ |= {FOLDER: folder, WORKERS: str(settings.workers)}  # for the workers, which inherit them
        _serve(settings)
    return 0


def _serve(settings: Settings) -> None:
    """One process, or a supervisor that keeps `workers` of them alive behind one socket."""
    uvicorn.run(
        create_app(settings) if settings.workers == 1 else "app.main:app",
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=LOG_CONFIG,
        access_log=False,  # app.api.observer writes it
        server_header=False,
        timeout_graceful_shutdown=round(settings.drain_limit),
    )


if __name__ == "__main__":
    sys.exit(main())
