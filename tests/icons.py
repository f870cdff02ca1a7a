"""python -m tests.icons FOLDER: how many icons of garments come out right, drawn by people who knew nothing of this.

FOLDER holds the icon collections that tests/icons.tsv names, as npm packs them:

    cd FOLDER && npm pack $(cut -f1 icons.tsv | tail -n +2 | sort -u | sed s,^,@iconify-json/,)

They have licences of their own and are not in the repository. rsvg-convert (librsvg2-bin) draws them, black or in their
colours, on white. What an icon shows was decided by eye before any answer was seen. `--half dev` is for finding out
why; `test` is for judging, and not to be looked at.
"""

import argparse
import csv
import io
import json
import subprocess
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.inference.engines.choose import build_engine
from app.inference.scores import score
from app.settings import Settings
from model.checkpoint import Checkpoint
from model.preprocess import preprocess

LIST = Path(__file__).with_suffix(".tsv")
SIDES = (512, 64)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=("dev", "test"), help="both without")
    arguments = parser.parse_args()
    rows = [row for row in csv.DictReader(LIST.open(), delimiter="\t") if arguments.half in (None, row["half"])]
    drawings = dict(draw_all(rows, arguments.folder))
    missing = {row["package"] for row in rows} - {package for package, _ in drawings}
    if missing:
        print(f"not in {arguments.folder}: {' '.join(sorted(missing))}", file=sys.stderr)
        return 1
    right: dict[str, list[bool]] = defaultdict(list)
    settings = Settings()
    checkpoint = Checkpoint.load(settings.checkpoint)
    engine = build_engine(settings, checkpoint)
    for row in rows:
        for side, image in zip(SIDES, drawings[row["package"], row["name"]], strict=True):
            (found,) = score(engine, checkpoint, preprocess(image).pixels[np.newaxis])
            hit = checkpoint.metadata.classes[int(found.probabilities.argmax())] == row["label"]
            for what in ("all", f"{side} px", row["style"], row["label"]):
                right[what].append(hit)
    for what in sorted(right, key=lambda what: (what != "all", what)):
        print(f"{what:14} {100 * float(np.mean(right[what])):5.1f} % of {len(right[what])}")
    return 0


def draw_all(rows: list[dict[str, str]], folder: Path) -> Iterator[tuple[tuple[str, str], list[Image.Image]]]:
    """Each icon by collection and name, in all sizes; collections that are not there are left out."""
    for package in {row["package"] for row in rows}:
        (file, *_) = [*folder.glob(f"iconify-json-{package}-[0-9]*.tgz"), None]
        if file is None:
            continue
        with tarfile.open(file) as archive:
            stored = archive.extractfile("package/icons.json")
            assert stored is not None
            collection = json.load(stored)
        for row in rows:
            if row["package"] == package:
                yield (package, row["name"]), [draw(collection, row["name"], side) for side in SIDES]


def draw(collection: dict[str, Any], name: str, side: int) -> Image.Image:
    """On white, `side` pixels high and wide."""
    icon = {"left": 0, "top": 0, "width": 16, "height": 16} | collection | collection["icons"][name]
    box = " ".join(str(icon[key]) for key in ("left", "top", "width", "height"))
    body = str(icon["body"]).replace("currentColor", "#000000")
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {names} viewBox="{box}">{body}</svg>'
    command = ["rsvg-convert", "-w", str(side), "-h", str(side), "-a", "-b", "white"]
    return Image.open(io.BytesIO(subprocess.run(command, input=svg.encode(), capture_output=True, check=True).stdout))


if __name__ == "__main__":
    sys.exit(main())
