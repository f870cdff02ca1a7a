"""Compares `fashion-googlenet classify` over a folder of the 10,000 test pictures with the engine alone.

    python -m benchmarks.cli_folder [--rounds 5]

The two take turns, so that changes of the machine's speed affect both. The engine computes preprocessed pixels at its
best batch size. The rate of `fashion-googlenet classify FOLDER --csv` is the one it prints; it starts when the engine
is loaded. Prints both rates and their ratio for each round, the median ratio, and the accuracy computed from the CSV.
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
    engine = choose.build_engine(settings, checkpoint)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        count = write_pictures(Path(folder))
        print(f"{engine.name} in {engine.precision}, {count} files")
        for _ in range(rounds):
            engine_before = engine_rate(engine, checkpoint)
            rate, accuracy = command_rate(folder)
            engine_alone = (engine_before + engine_rate(engine, checkpoint)) / 2
            ratios.append(rate / engine_alone)
            print(
                f"engine {engine_alone:.0f} pictures/s, command {rate:.0f} pictures/s: {100 * ratios[-1]:.0f} %",
                flush=True,
            )
    print(f"median {100 * statistics.median(ratios):.0f} % of {rounds} rounds; accuracy {100 * accuracy:.2f} %")


def write_pictures(root: Path) -> int:
    """Writes the test set as ROOT/class_id/number.png. Returns the number of files."""
    test = data.load().test
    for i, (pixels, label) in enumerate(zip(test.pixels.numpy(), test.labels.tolist(), strict=True)):
        folder = root / str(label)
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i:05}.png")
    return len(test)


def engine_rate(engine: base.Engine, checkpoint: Checkpoint) -> float:
    """Pictures per second of the engine alone: 2,048 pictures, at the best of three batch sizes."""
    rates = []
    for size in (32, 64, 128):
        pixels = np.resize(checkpoint.golden.pixels, (size, *checkpoint.golden.pixels.shape[1:]))
        batches = [pixels] * (2048 // size)
        with ThreadPoolExecutor(base.lanes(engine)) as threads:
            started = time.perf_counter()
            list(threads.map(engine, batches))
        rates.append(2048 / (time.perf_counter() - started))
    return max(rates)


def command_rate(folder: str) -> tuple[float, float]:
    """Runs the command. Returns the pictures per second that it prints, and the share of correct rows."""
    command = [sys.executable, "-m", "app.cli.commands", "classify", folder, "--csv"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    correct = [row["class_id"] == Path(row["path"]).parent.name for row in csv.DictReader(io.StringIO(result.stdout))]
    return float(result.stderr.split()[-2]), sum(correct) / len(correct)


if __name__ == "__main__":
    main()
