"""Settings ↔ options of a command: each GOOGLENET_NAME is --name."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.settings import Settings


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """command(**{name: value as text or None}) → the same with an option for every setting."""

    def call(**given: str | None) -> Any:
        return command(**given)

    call.__doc__ = command.__doc__
    call.__name__ = command.__name__
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_option(name, field), annotation=str | None)
        for name, field in Settings.model_fields.items()
        if SecretStr not in (field.annotation, *getattr(field.annotation, "__args__", ()))  # others would see it
    ]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def apply(**given: str | Path | None) -> None:
    """Options into the environment, where Settings, also those of worker processes, find them."""
    os.environ.update({f"GOOGLENET_{name.upper()}": str(value) for name, value in given.items() if value is not None})


def _option(name: str, field: FieldInfo) -> Any:
    default = "" if field.default is None else f" [default: {field.default}]"
    help_text = f"{field.description}{default}".replace("[", r"\[")
    return typer.Option(None, f"--{name.replace('_', '-')}", help=help_text, metavar=name.upper(), show_default=False)
