"""PATH… → the files that are meant."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import cast

from app.images.supported import find_format

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".heic", ".heif", ".gif", ".bmp", ".tif", ".tiff")
"""Of the files in a folder that are looked at; one that is named is tried whatever it is called."""

STDIN = "-"


def find_files(paths: Iterable[str]) -> Iterator[str]:
    """Folders with all below them, in the order of their names, and patterns for shells that do not do it.

    A path that leads nowhere stays in, and so becomes a row with its error. `-` stays in if standard input is a
    picture; otherwise it is the paths that are listed there, one a line.
    """
    for path in paths:
        if path == STDIN:
            yield from _listed()
        elif os.path.isdir(path):
            yield from _below(path)
        elif not os.path.lexists(path) and glob.has_magic(path):
            found = sorted(glob.glob(path, recursive=True))
            yield from find_files(found) if found else [path]
        else:
            yield path


def read_stdin() -> bytes:
    """The picture there; `_listed` has only looked at it."""
    return sys.stdin.buffer.read()


def _listed() -> Iterator[str]:
    start = cast("BufferedReader", sys.stdin.buffer).peek(16)[:16]
    if find_format(start) or b"\0" in start:
        yield STDIN
        return
    lines = sys.stdin.buffer.read().splitlines()
    yield from find_files(os.fsdecode(line) for line in lines if line and line != STDIN.encode())


def _below(folder: str) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield str(Path(root) / name)
