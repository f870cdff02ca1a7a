"""Measures every engine: its speed, its accuracy, its share of the machine's matrix speed, and the service around it.

python -m benchmarks.engines                        every engine that runs here, batches of 1 to 512
python -m benchmarks.engines --only auto,torch --batch 1,64 --seconds 0.5

Needs only torch, numpy, Pillow, safetensors and prometheus-client, so it runs on a bare GPU machine. For an engine that
needs more it prints what is missing. "Share" is the rate of the network's operations divided by torch's best rate for
one large matrix product in the same precision, measured in the same run. "Path" is the service without HTTP, from the
bytes of a PNG to the probabilities: decoding, preprocessing, queue and engine.
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
from app.inference.engines.choose import BUILT_IN, build_engine
from app.metrics import Metrics
from benchmarks.harness.bodies import PICTURES
from benchmarks.harness.machine import describe, multiply_rate
from model import data
from model.checkpoint import SHIPPED, Checkpoint
from model.predict import load_graph, serving_pixels
from model.preprocess import SIZE

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PATH_CONCURRENCY = (1, 64, 256)
"""Pictures at the same time on the path. With more, a slow engine would refuse some."""


@dataclass(frozen=True)
class PlainSettings:
    """Stands in for app.settings.Settings on a machine without pydantic."""

    engine: str
    device: str
    max_batch_size: int | None = None
    queue_size: int = 4096
    request_timeout: float = 60.0
    max_pixels: int = 16_000_000


@dataclass(frozen=True)
class Row:
    """Result of one engine at one batch size; if `path`, at that number of concurrent pictures."""

    engine: str
    device: str
    precision: str
    batch: int
    milliseconds: float
    """Median per batch; on the path, per picture."""
    rate: float
    """Pictures per second."""
    cpu: float
    """Milliseconds of CPU time per picture."""
    accuracy: float | None
    """Share of the test set classified correctly; None if the test set is not available."""
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
            chosen = build_engine(settings, checkpoint)
        except (StartError, ImportError) as error:
            missing[name] = str(error)
            continue
        matrix_kind = chosen.device, chosen.precision
        for row in _measure(chosen, settings, checkpoint, test, arguments):
            if matrix_kind not in rates:
                rates[matrix_kind] = multiply_rate(*matrix_kind)
            rate = rates[matrix_kind]
            rows.append(replace(row, share=row.rate * operations / rate if rate else None))
            print(_line(rows[-1]), flush=True)
    _print_notes(rates, missing, operations, test)
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
    parser.add_argument(
        "--batch", type=lambda text: [int(n) for n in text.split(",")], default=BATCH_SIZES, metavar="N,…"
    )
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
        return PlainSettings(name, device)
    return Settings(engine=name, device=device, queue_size=4096, request_timeout=60)


def _test_set(arguments: argparse.Namespace) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """Preprocessed pictures, uint8 [n,96,96], and their labels; None if they are not on this machine (no download)."""
    folder = arguments.data or next((path for path in (Path("data"), data.DEBIAN) if path.is_dir()), None)
    if arguments.no_accuracy or folder is None:
        return None
    test = data.load(folder).test
    return serving_pixels(test.pixels).numpy(), test.labels.numpy()


def operations_per_picture(checkpoint: Checkpoint) -> int:
    """Multiplications and additions of one forward pass, counted by torch."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        load_graph(checkpoint)(torch.zeros(1, SIZE, SIZE, dtype=torch.uint8))
    return int(counter.get_total_flops())


def _measure(
    chosen: Engine, settings: Any, checkpoint: Checkpoint, test: Any, arguments: argparse.Namespace
) -> Iterator[Row]:
    accuracy = _accuracy(chosen, *test) if test else None
    engine_columns = (chosen.name, chosen.device, chosen.precision)
    for batch in arguments.batch:
        yield Row(*engine_columns, batch, *_time_batches(chosen, batch, checkpoint, arguments.seconds), accuracy)
    if not arguments.no_path:
        classifier = Classifier(checkpoint, chosen, settings, Metrics())
        for row in asyncio.run(_time_path(classifier, arguments.seconds)):
            yield Row(*engine_columns, *row, accuracy, path=True)


def _accuracy(chosen: Engine, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    parts = (chosen(pixels[start : start + 250]).logits.argmax(1) for start in range(0, len(pixels), 250))
    return float((np.concatenate(list(parts)) == labels).mean())


def _time_batches(chosen: Engine, batch: int, checkpoint: Checkpoint, seconds: float) -> tuple[float, float, float]:
    """Median milliseconds per batch, pictures per second, CPU milliseconds per picture; on all lanes, as in service."""
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


async def _time_path(classifier: Classifier, seconds: float) -> list[tuple[int, float, float, float]]:
    classifier.start()
    files = [path.read_bytes() for path in sorted(PICTURES.glob("*.png"))]
    rows = [(clients, *await _time_clients(classifier, files, clients, seconds)) for clients in PATH_CONCURRENCY]
    await classifier.stop()
    return rows


async def _time_clients(
    classifier: Classifier, files: list[bytes], clients: int, seconds: float
) -> tuple[float, float, float]:
    """Median milliseconds per picture, pictures per second, CPU milliseconds per picture."""
    taken: list[float] = []
    cpu, started = time.process_time(), time.perf_counter()

    async def client(number: int) -> None:
        while time.perf_counter() < started + seconds:
            sent = time.perf_counter()
            await classifier.classify(files[(number + len(taken)) % len(files)])
            taken.append(time.perf_counter() - sent)

    await asyncio.gather(*(client(number) for number in range(clients)))
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


def _print_notes(
    rates: dict[tuple[str, str], float | None], missing: dict[str, str], operations: int, test: Any
) -> None:
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
