"""python -m app.cli.settings_page: docs/settings.md from the settings class (make docs)."""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from app.settings import Settings

ROOT = Path(__file__).parent.parent.parent

HEAD = """# Settings

Environment variables, all with a working default; a wrong value stops the start with one clear line. `fashion-googlenet
serve` has each as an option too: `GOOGLENET_PORT` is `--port`. Written by `make docs` from `app/settings.py`.

| variable | default | may be | meaning |
|---|---|---|---|
"""


def page() -> str:
    return HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    default = os.path.relpath(value, ROOT) if isinstance(value, Path) else "" if value is None else str(value)
    kind = Settings.model_json_schema()["properties"][name]
    return f"| `GOOGLENET_{name.upper()}` | {default} | {_allowed(kind)} | {field.description} |\n"


def _allowed(kind: dict[str, Any]) -> str:
    """A property of the JSON schema in words."""
    choices = kind.get("anyOf", [kind])
    kind = {**kind, **choices[0]}
    if "enum" in kind:
        return ", ".join(map(str, kind["enum"]))
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {kind[name]}" for name, sign in limits.items() if name in kind)
    word = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true, false"}
    return f"{word.get(str(kind.get('type')), 'text')} {bounds}".strip()


if __name__ == "__main__":
    print(page(), end="")
