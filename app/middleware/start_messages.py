"""Start messages: one line for each known error, not a traceback; a warning if the server is not `python -m app`."""

import logging

from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.asgi import DRAINING
from app.errors import StartError
from app.settings import validation_message
from model.checkpoint import CheckpointError

log = logging.getLogger(__name__)

OTHER_SERVER = (
    "served by another server than `python -m app`: slow clients, early rejection and draining are not handled"
)


async def run_lifespan(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the application's lifespan, and shortens the message of its failure. Raises what the application raises."""
    if DRAINING not in scope.get("state", {}):  # app.http.uvicorn_internals sets it
        log.warning(OTHER_SERVER)
    failures: list[Message] = []

    async def hold_back_failure(message: Message) -> None:
        if message["type"] == "lifespan.startup.failed":
            failures.append(message)
        else:
            await send(message)

    try:
        await app(scope, receive, hold_back_failure)
    except Exception as error:
        for message in failures:
            await send({**message, "message": _in_one_line(error) or message["message"]})
        raise


def _in_one_line(error: Exception) -> str | None:
    """None for an error whose traceback is needed."""
    if isinstance(error, ValidationError):
        return validation_message(error)
    return str(error) if isinstance(error, CheckpointError | StartError) else None
