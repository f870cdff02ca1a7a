"""Command-line options made from the settings: GOOGLENET_NAME becomes --name."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.settings import Settings


def with_settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates `command(**settings)`: it gets an option for every setting. Values are text, None if not given.

    A secret has no option: other users of the machine could read it in the list of processes.
    """
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_option(name, field), annotation=str | None)
        for name, field in Settings.model_fields.items()
        if SecretStr not in (field.annotation, *getattr(field.annotation, "__args__", ()))
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def set_environment(**options: str | Path | None) -> None:
    """Writes the options that are not None into the environment. Settings read it, also in worker processes."""
    os.environ.update({f"GOOGLENET_{name.upper()}": str(value) for name, value in options.items() if value is not None})


def _option(name: str, field: FieldInfo) -> Any:
    default = "" if field.default is None else f" [default: {field.default}]"
    help_text = f"{field.description}{default}".replace("[", r"\[")
    return typer.Option(None, f"--{name.replace('_', '-')}", help=help_text, metavar=name.upper(), show_default=False)
