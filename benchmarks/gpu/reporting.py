"""Arguments of the four stages, and the lines in which they report their results."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULT = "RESULT "
"""Starts every line with a result as JSON. deploy/gpu_check.py reads these lines, also those of a killed stage."""


@dataclass(frozen=True)
class Options:
    """`device` is cuda or cpu. `small` does just enough to show that the stage runs. Files are written to `out`."""

    device: str
    small: bool
    out: Path


def parse_options(description: str) -> Options:
    """Parses the command line: --device, --small, --out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    found = parser.parse_args()
    return Options(found.device, found.small, found.out)


def report(name: str, value: Any, ok: bool = True) -> None:
    """Prints one result for deploy/gpu_check.py. `value` is any JSON value; `ok` is False if a check failed."""
    print(RESULT + json.dumps({"name": name, "value": value, "ok": ok}), flush=True)
