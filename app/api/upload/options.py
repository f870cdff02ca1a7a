"""Reads a request's options from its query and from the fields of its body."""

from collections.abc import Mapping

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from app.api.schemas import Options

DEFAULT = Options.model_validate({})


def query_options(request: Request) -> Options:
    """Raises RequestValidationError."""
    return _parse(dict(request.query_params)) if request.scope["query_string"] else DEFAULT


def merge_options(request: Request, fields: Mapping[str, object], *, strict: bool = False) -> Options:
    """The query's options, and those of the body's fields that the query does not name.

    Strings of digits are numbers, unless `strict`. Raises RequestValidationError for any wrong value, also for one that
    the query overrides.
    """
    from_body = _parse(fields, strict=strict).model_dump(exclude_unset=True)
    return _parse(from_body | dict(request.query_params))


def _parse(values: Mapping[str, object], *, strict: bool = False) -> Options:
    """By name. Raises RequestValidationError, as FastAPI does for parameters of the query."""
    if unknown := values.keys() - Options.model_fields:
        known = ", ".join(Options.model_fields)
        message = f"there is no such option; there are {known}"
        raise RequestValidationError([{"loc": ("query", name[:60]), "msg": message} for name in sorted(unknown)[:8]])
    try:
        return Options.model_validate(values, strict=strict)
    except ValidationError as error:
        raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in error.errors()]) from None
