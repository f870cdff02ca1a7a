"""Finds the files that the PATH arguments of `classify` name."""

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import cast

from app.images.supported import find_format

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".heic", ".heif", ".gif", ".bmp", ".tif", ".tiff")
"""Files that are taken from a folder. A file that is named itself may have any suffix."""

STDIN = "-"


def find_files(paths: Iterable[str]) -> Iterator[str]:
    """Yields each file; for a folder, all pictures below it, sorted by name; for a pattern, its matches.

    A path that does not exist is yielded too, so that it becomes a row with an error. `-` is yielded if standard
    input is a picture; otherwise standard input is read as a list of paths, one per line.
    """
    for path in paths:
        if path == STDIN:
            yield from _from_stdin()
        elif os.path.isdir(path):
            yield from _in_folder(path)
        elif not os.path.lexists(path) and glob.has_magic(path):
            matches = sorted(glob.glob(path, recursive=True))
            yield from find_files(matches) if matches else [path]
        else:
            yield path


def read_stdin() -> bytes:
    """Reads the picture on standard input."""
    return sys.stdin.buffer.read()


def _from_stdin() -> Iterator[str]:
    start = cast("BufferedReader", sys.stdin.buffer).peek(16)[:16]  # peek leaves the picture for read_stdin
    if find_format(start) or b"\0" in start:
        yield STDIN
        return
    lines = sys.stdin.buffer.read().splitlines()
    yield from find_files(os.fsdecode(line) for line in lines if line and line != STDIN.encode())


def _in_folder(folder: str) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield str(Path(root) / name)
