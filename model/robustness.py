"""Accuracy on the test set re-made as uploads, beside the clean figure: `python -m model.evaluate --robustness`.

Every file is opened and preprocessed as the service does it, once by `auto` and once by `native`. Pictures
that come out the same to the pixel are put through the network once.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import Pool

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.checkpoint import Checkpoint, graph_file
from model.exported import Export, ExportError
from model.preprocess import Preprocessed, native, preprocess
from model.remake import GROUPS, remake

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]
Network = Callable[[Pixels], Logits]
"""uint8 [n,96,96] → logits [n,classes]."""

TOGETHER = 100
"""Pictures in a batch."""


@dataclass(frozen=True)
class Row:
    """One recipe's figures: fractions of the pictures."""

    group: str
    allowed: float | None
    """Points that `auto` may lose."""
    recipe: str
    auto: float
    native: float
    photo: float
    """Judged to be photos, …"""
    inverted: float
    certain: float


def rows(network: Network, pixels: Pixels, labels: NDArray[np.int64], pool: Pool, only: str = "") -> Iterator[Row]:
    """Pictures uint8 [n,28,28] and their labels; the first row is the clean figure. `only` picks recipes by name."""
    known: dict[bytes, int] = {}
    clean = _classify(network, [native(Image.fromarray(picture)) for picture in pixels], known)
    right = float((clean == labels).mean())
    yield Row("clean", 0.0, "28×28, as it is", right, right, 0, 0, 1)
    for group, (allowed, recipes) in GROUPS.items():
        for recipe in recipes:
            if only not in recipe:
                continue
            made = pool.starmap(partial(_prepare, recipe), enumerate(pixels), chunksize=50)
            auto = [result for result, _ in made]
            yield Row(
                *(group, allowed, recipe),
                float((_classify(network, [result.pixels for result in auto], known) == labels).mean()),
                float((_classify(network, [plain for _, plain in made], known) == labels).mean()),
                float(np.mean([result.mode == "photo" for result in auto])),
                float(np.mean([result.inverted for result in auto])),
                float(np.mean([result.certain for result in auto])),
            )


def table(found: Iterator[Row]) -> Iterator[str]:
    """The rows as text, each as soon as it is there: percent, and points lost against the first, clean one."""
    head = f"{'auto':>7}{'lost':>7}{'allowed':>9}{'native':>9}{'lost':>7}{'photo':>8}{'inverted':>10}{'certain':>9}"
    yield " " * 24 + head
    group, clean = "clean", None
    for row in found:
        clean = 100 * row.auto if clean is None else clean
        if row.group != group:
            group = row.group
            yield f"\n{group}"
        auto, plain = 100 * row.auto, 100 * row.native
        allowed = "" if row.allowed is None else f"{row.allowed:.1f}"
        mark = "!" if row.allowed is not None and clean - auto > row.allowed + 1e-9 else " "
        yield (
            f"{row.recipe:24}{auto:7.2f}{clean - auto:7.2f}{allowed:>8}{mark}{plain:9.2f}{clean - plain:7.2f}"
            f"{100 * row.photo:8.1f}{100 * row.inverted:10.1f}{100 * row.certain:9.1f}"
        )


def exported_network(checkpoint: Checkpoint) -> Network | None:
    """The graph that the service runs on the CPU, in its precision; None if there is none of this checkpoint."""
    try:
        export = Export.load(checkpoint, "openvino")
    except ExportError:
        return None
    from model.openvino import best_precision, compile_graph  # not at the top: OpenVINO is not on every platform

    compiled = compile_graph(graph_file(checkpoint.file, "openvino"), best_precision(export.precisions), threads=0)

    def network(pixels: Pixels) -> Logits:
        logits: Logits = compiled(pixels)[0]
        return logits

    return network


def _prepare(recipe: str, number: int, picture: Pixels) -> tuple[Preprocessed, Pixels]:
    """What the network gets to see of the file by `auto`, and by `native`."""
    with Image.open(io.BytesIO(remake(recipe, picture, number))) as image:
        result = preprocess(image)
        plain = result if result.mode == "native" else preprocess(image, mode="native")
    return result, plain.pixels


def _classify(network: Network, pictures: Sequence[Pixels], known: dict[bytes, int]) -> NDArray[np.int64]:
    """Class numbers; `known` remembers every picture that the network has seen."""
    keys = [hashlib.blake2b(picture.tobytes(), digest_size=16).digest() for picture in pictures]
    new = list({key: picture for key, picture in zip(keys, pictures, strict=True) if key not in known}.items())
    for start in range(0, len(new), TOGETHER):
        batch = new[start : start + TOGETHER]
        likeliest = network(np.stack([picture for _, picture in batch])).argmax(axis=1)
        known.update(zip((key for key, _ in batch), likeliest.tolist(), strict=True))
    return np.array([known[key] for key in keys])
