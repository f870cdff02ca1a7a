"""Writes docs/settings.md from the settings class: `make docs` runs `python -m app.cli.settings_page`."""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from app.settings import Settings

ROOT = Path(__file__).parent.parent.parent

HEADER = """# Settings

All settings are environment variables, and all are optional. A wrong value stops the start with one line that names
it. `fashion-googlenet serve` has an option for each: `GOOGLENET_PORT` is `--port`. `make docs` writes this page from
`app/settings.py`.

| variable | default | values | meaning |
|---|---|---|---|
"""


def page() -> str:
    return HEADER + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    default = os.path.relpath(value, ROOT) if isinstance(value, Path) else "" if value is None else str(value)
    schema = Settings.model_json_schema()["properties"][name]
    return f"| `GOOGLENET_{name.upper()}` | {default} | {_allowed_values(schema)} | {field.description} |\n"


def _allowed_values(schema: dict[str, Any]) -> str:
    """Describes a property's type and bounds, from its JSON schema, in words."""
    schema = {**schema, **schema.get("anyOf", [schema])[0]}
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {schema[name]}" for name, sign in limits.items() if name in schema)
    types = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true, false"}
    return f"{types.get(str(schema.get('type')), 'text')} {bounds}".strip()


if __name__ == "__main__":
    print(page(), end="")
