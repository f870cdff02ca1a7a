"""What the four stages share: their arguments, and how each result is reported the moment it is known."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULT = "RESULT "
"""Begins every line that holds one result as JSON. deploy/gpu_check.py reads them, also of a stage that was killed."""


@dataclass(frozen=True)
class Options:
    """`device` is cuda or cpu; `small` means as little work as shows that the stage runs; `out` takes files."""

    device: str
    small: bool
    out: Path


def options(description: str) -> Options:
    """From the command line: --device, --small, --out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    found = parser.parse_args()
    return Options(found.device, found.small, found.out)


def report(name: str, value: Any, ok: bool = True) -> None:
    """One line for deploy/gpu_check.py. `value` is anything JSON can hold; `ok` is False if the check failed."""
    print(RESULT + json.dumps({"name": name, "value": value, "ok": ok}), flush=True)
