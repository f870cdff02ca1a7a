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

    A path that does not exist and a folder that cannot be read are yielded too, so that they become rows with an
    error. `-` is yielded if standard input is a picture; otherwise standard input is read as a list of paths, one per
    line, or separated by null characters as `find -print0` writes it.
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
    first, null, _ = start.partition(b"\0")
    if find_format(start) or (null and not os.path.lexists(first)):
        yield STDIN
        return
    content = sys.stdin.buffer.read()
    paths = content.split(b"\0") if b"\0" in content else content.splitlines()
    yield from find_files(os.fsdecode(path) for path in paths if path and path != STDIN.encode())


def _in_folder(folder: str) -> Iterator[str]:
    unreadable: list[str] = []
    visited: set[str] = set()
    for root, folders, names in os.walk(
        folder, onerror=lambda error: unreadable.append(error.filename), followlinks=True
    ):
        if (real := os.path.realpath(root)) in visited:  # a link to a folder above or beside it
            folders.clear()
            continue
        visited.add(real)
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield str(Path(root) / name)
    yield from unreadable
