"""Every engine alone, and the path around it: how fast, how exact, and how near to what the machine can multiply.

python -m benchmarks.engines                        every engine that runs here, batches of 1 to 512
python -m benchmarks.engines --only auto,torch --batch 1,64 --seconds 0.5

Needs torch, numpy, Pillow, safetensors and prometheus-client alone, so it runs on a bare GPU machine; engines that need
more are named with what they lack. "Share" is the network's multiply-adds against torch's best rate for
one large matrix product of the same precision, measured in the same run. "Path" is the service without
HTTP: PNG bytes in, probabilities out, through decoding, preprocessing, queue and engine.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from app.errors import StartError
from app.inference.classifier import Classifier
from app.inference.engines.base import MIN_PARALLEL_BATCH, Engine, lanes
from app.inference.engines.choose import BUILT_IN, build
from app.metrics import Metrics
from benchmarks.bodies import PICTURES
from benchmarks.machine import describe, multiply_rate
from model import data
from model.checkpoint import SHIPPED, Checkpoint
from model.predict import load_graph, serving_pixels
from model.preprocess import SIZE

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONCURRENT = (1, 64, 256)
"""Pictures under way at once on the path; of more, a slow engine would refuse some."""


@dataclass(frozen=True)
class Knobs:
    """What the engines and the path ask of app.settings.Settings, where pydantic is not installed."""

    engine: str
    device: str
    max_batch_size: int | None = None
    queue_size: int = 4096
    request_timeout: float = 60.0
    max_pixels: int = 16_000_000


@dataclass(frozen=True)
class Row:
    """One engine at one batch size; or, with `path`, that many pictures under way at once."""

    engine: str
    device: str
    precision: str
    batch: int
    milliseconds: float
    """Median of a batch, or of a picture on the path."""
    rate: float
    """Pictures a second."""
    cpu: float
    """Milliseconds of CPU time a picture."""
    accuracy: float | None
    """Of the test set, fraction right; None if it is not here."""
    share: float | None = None
    """Of the matrix-multiply rate."""
    path: bool = False


def main() -> int:
    arguments = _arguments()
    checkpoint = Checkpoint.load(SHIPPED)
    test = _test_set(arguments)
    operations = operations_per_picture(checkpoint)
    rates: dict[tuple[str, str], float | None] = {}
    rows, missing = [], {}
    print(HEADER)
    for name in arguments.only or BUILT_IN:
        try:
            settings = _settings(name, arguments.device)
            chosen = build(settings, checkpoint)
        except (StartError, ImportError) as error:
            missing[name] = str(error)
            continue
        kind = chosen.device, chosen.precision
        for row in _measure(chosen, settings, checkpoint, test, arguments):
            if kind not in rates:
                rates[kind] = multiply_rate(*kind)
            rate = rates[kind]
            rows.append(replace(row, share=row.rate * operations / rate if rate else None))
            print(_line(rows[-1]), flush=True)
    _explain(rates, missing, operations, test)
    if arguments.out:
        arguments.out.parent.mkdir(exist_ok=True)
        found = {f"{device} {precision}": rate for (device, precision), rate in rates.items()}
        report = {"machine": describe(), "multiply_rates": found, "missing": missing, "rows": [asdict(r) for r in rows]}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if rows else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), metavar="NAME,…", help=f"auto, {', '.join(BUILT_IN)}"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--batch", type=lambda text: [int(n) for n in text.split(",")], default=BATCHES, metavar="N,…")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, at least")
    parser.add_argument("--data", type=Path, metavar="DIR", help="Fashion-MNIST, if it is in no usual place")
    parser.add_argument("--no-accuracy", action="store_true")
    parser.add_argument("--no-path", action="store_true")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the same as JSON")
    return parser.parse_args()


def _settings(name: str, device: str) -> Any:
    try:
        from app.settings import Settings
    except ImportError:
        return Knobs(name, device)
    return Settings(engine=name, device=device, queue_size=4096, request_timeout=60)


def _test_set(arguments: argparse.Namespace) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """Pictures as the network sees them, uint8 [n,96,96], and their labels; nothing is downloaded for it."""
    folder = arguments.data or next((path for path in (Path("data"), data.DEBIAN) if path.is_dir()), None)
    if arguments.no_accuracy or folder is None:
        return None
    test = data.load(folder).test
    return serving_pixels(test.pixels).numpy(), test.labels.numpy()


def operations_per_picture(checkpoint: Checkpoint) -> int:
    """Multiplications and additions of one picture's way through the network, counted by torch."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        load_graph(checkpoint)(torch.zeros(1, SIZE, SIZE, dtype=torch.uint8))
    return int(counter.get_total_flops())


def _measure(
    chosen: Engine, settings: Any, checkpoint: Checkpoint, test: Any, arguments: argparse.Namespace
) -> Iterator[Row]:
    accuracy = _accuracy(chosen, *test) if test else None
    about = (chosen.name, chosen.device, chosen.precision)
    for batch in arguments.batch:
        yield Row(*about, batch, *_time(chosen, batch, checkpoint, arguments.seconds), accuracy)
    if not arguments.no_path:
        classifier = Classifier(checkpoint, chosen, settings, Metrics())
        for row in asyncio.run(_path(classifier, arguments.seconds)):
            yield Row(*about, *row, accuracy, path=True)


def _accuracy(chosen: Engine, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    parts = (chosen(pixels[start : start + 250]).logits.argmax(1) for start in range(0, len(pixels), 250))
    return float((np.concatenate(list(parts)) == labels).mean())


def _time(chosen: Engine, batch: int, checkpoint: Checkpoint, seconds: float) -> tuple[float, float, float]:
    """Median milliseconds a batch, pictures/s, CPU milliseconds a picture; as app.inference.batching uses its lanes."""
    side_by_side = lanes(chosen) if batch >= MIN_PARALLEL_BATCH else 1
    batches = side_by_side * [np.resize(checkpoint.golden.pixels, (batch, SIZE, SIZE))]
    taken: list[float] = []
    with ThreadPoolExecutor(side_by_side) as threads:
        list(threads.map(chosen, batches))
        cpu, until = time.process_time(), time.perf_counter() + seconds
        while len(taken) < 3 or time.perf_counter() < until:
            started = time.perf_counter()
            list(threads.map(chosen, batches))
            taken.append(time.perf_counter() - started)
        cpu = time.process_time() - cpu
    median, pictures = statistics.median(taken), side_by_side * batch
    return 1000 * median, pictures / median, 1000 * cpu / pictures / len(taken)


async def _path(classifier: Classifier, seconds: float) -> list[tuple[int, float, float, float]]:
    classifier.start()
    files = [path.read_bytes() for path in sorted(PICTURES.glob("*.png"))]
    rows = [(clients, *await _drive(classifier, files, clients, seconds)) for clients in CONCURRENT]
    await classifier.stop()
    return rows


async def _drive(
    classifier: Classifier, files: list[bytes], clients: int, seconds: float
) -> tuple[float, float, float]:
    """Median milliseconds a picture, pictures a second, CPU milliseconds a picture."""
    taken: list[float] = []
    cpu, started = time.process_time(), time.perf_counter()

    async def client(turn: int) -> None:
        while time.perf_counter() < started + seconds:
            begun = time.perf_counter()
            await classifier.classify(files[(turn + len(taken)) % len(files)])
            taken.append(time.perf_counter() - begun)

    await asyncio.gather(*(client(turn) for turn in range(clients)))
    elapsed = time.perf_counter() - started
    return 1000 * statistics.median(taken), len(taken) / elapsed, 1000 * (time.process_time() - cpu) / len(taken)


HEADER = "engine         on    in        batch        ms pictures/s CPU ms each   share accuracy"


def _line(row: Row) -> str:
    share = f"{100 * row.share:.1f} %" if row.share else "–"
    accuracy = f"{100 * row.accuracy:.2f} %" if row.accuracy else "–"
    batch = f"path, {row.batch}" if row.path else str(row.batch)
    return (
        f"{row.engine:14} {row.device:5} {row.precision:5} {batch:>9} {row.milliseconds:9.2f} {row.rate:10.1f} "
        f"{row.cpu:11.3f} {share:>7} {accuracy:>8}"
    )


def _explain(rates: dict[tuple[str, str], float | None], missing: dict[str, str], operations: int, test: Any) -> None:
    for (device, precision), rate in rates.items():
        measured = f"{rate / 1e12:.2f} Tflop/s" if rate else "not measured"
        print(
            f"matrix products on the {device} in {precision}: {measured}; a picture takes {operations / 1e9:.2f} Gflop"
        )
    for name, why in missing.items():
        print(f"{name} does not run here: {why}")
    if test is None:
        print("accuracy not measured: not wanted, or no Fashion-MNIST here (--data DIR)")


if __name__ == "__main__":
    sys.exit(main())
