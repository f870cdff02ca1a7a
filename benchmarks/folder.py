"""The command line over a folder of the 10,000 test pictures as PNG files, beside the engine alone.

    python -m benchmarks.folder [--rounds 5]

By turns, so that both meet the same machine: the engine on ready pixels at its best batch size, then the command
`fashion-googlenet classify FOLDER --csv`, by its own account, which begins when its engine is loaded. Prints both rates
and their ratio, by rounds and as the median, and the accuracy that follows from the CSV.
"""

import argparse
import csv
import io
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from app.inference.engines import base, choose
from app.settings import Settings
from model import data
from model.checkpoint import Checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    settings = Settings()
    checkpoint = Checkpoint.load(settings.checkpoint)
    running = choose.build(settings, checkpoint)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        count = write_pictures(Path(folder))
        print(f"{running.name} in {running.precision}, {count} files")
        for _ in range(rounds):
            before = engine_rate(running, checkpoint)
            rate, accuracy = command_rate(folder)
            alone = (before + engine_rate(running, checkpoint)) / 2
            ratios.append(rate / alone)
            print(f"engine {alone:.0f} pictures/s, command {rate:.0f} pictures/s: {100 * ratios[-1]:.0f} %", flush=True)
    print(f"median {100 * statistics.median(ratios):.0f} % of {rounds} rounds; accuracy {100 * accuracy:.2f} %")


def write_pictures(root: Path) -> int:
    """The test set as ROOT/class_id/number.png."""
    test = data.load().test
    for i, (pixels, label) in enumerate(zip(test.pixels.numpy(), test.labels.tolist(), strict=True)):
        folder = root / str(label)
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i:05}.png")
    return len(test)


def engine_rate(running: base.Engine, checkpoint: Checkpoint) -> float:
    """Pictures a second of the engine alone, over 2,048 pictures in batches of the best of three sizes."""
    rates = []
    for size in (32, 64, 128):
        pixels = np.resize(checkpoint.golden.pixels, (size, *checkpoint.golden.pixels.shape[1:]))
        batches = [pixels] * (2048 // size)
        with ThreadPoolExecutor(base.lanes(running)) as side_by_side:
            started = time.perf_counter()
            list(side_by_side.map(running, batches))
        rates.append(2048 / (time.perf_counter() - started))
    return max(rates)


def command_rate(folder: str) -> tuple[float, float]:
    """Pictures a second that the command says it did, and how many of its rows are right."""
    command = [sys.executable, "-m", "app.cli.commands", "classify", folder, "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    right = [row["class_id"] == Path(row["path"]).parent.name for row in csv.DictReader(io.StringIO(done.stdout))]
    return float(done.stderr.split()[-2]), sum(right) / len(right)


if __name__ == "__main__":
    main()
