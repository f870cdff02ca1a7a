"""Accuracy on the test set re-made as uploads, beside the clean figure: `python -m model.evaluate --robustness`.

With it the calibration error and the share called out of distribution.

Every file is opened and preprocessed as the service does it, once by `auto` and once by `native`. Pictures
that come out the same to the pixel are put through the network once.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import Pool

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.preprocess import Preprocessed, native, preprocess
from model.reliability import measure
from model.remake import GROUPS, remake
from model.served import Answers, Served

Pixels = NDArray[np.uint8]
SURE = 0.8
"""Of an answer: from here on nobody looks twice."""

Known = dict[bytes, tuple[NDArray[np.float32], float]]
"""Probabilities of every picture that the network has seen, and its score less the threshold, by the picture's hash."""


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
    ece: float
    """Expected calibration error of `auto` …"""
    flagged: float | None
    """… the share of it that is called out of distribution, …"""
    misled: float
    """… and that of confident wrong answers which are not: above SURE."""


def rows(
    served: Served,
    pixels: Pixels,
    labels: NDArray[np.int64],
    pool: Pool,
    only: str = "",
) -> Iterator[Row]:
    """Pictures uint8 [n,28,28] and their labels; the first row is the clean figure. `only` picks recipes by name."""
    known: Known = {}
    plain = np.stack([native(Image.fromarray(picture)) for picture in pixels])
    answers = _answers(served, list(plain), known)
    clean = served.righted(plain, answers)
    right, by_native = _accuracy(clean, labels), _accuracy(answers, labels)
    yield Row("clean", 0.0, "28×28, as it is", right, by_native, 0, 0, 1, *_trust(clean, labels))
    for group, (allowed, recipes) in GROUPS.items():
        for recipe in recipes:
            if only not in recipe and only != group:
                continue
            made = pool.starmap(partial(_prepare, recipe), enumerate(pixels), chunksize=50)
            auto = [result for result, _ in made]
            seen = [result.pixels for result in auto]
            answers = served.righted(np.stack(seen), _answers(served, seen, known))
            as_is = _answers(served, [pixels for _, pixels in made], known)
            yield Row(
                *(group, allowed, recipe),
                _accuracy(answers, labels),
                _accuracy(as_is, labels),
                float(np.mean([result.mode == "photo" for result in auto])),
                float(np.mean([result.inverted for result in auto])),
                float(np.mean([result.certain for result in auto])),
                *_trust(answers, labels),
            )


def table(found: Iterator[Row]) -> Iterator[str]:
    """The rows as text, each as soon as it is there: percent, and points lost against the first, clean one."""
    head = f"{'auto':>7}{'lost':>7}{'allowed':>9}{'native':>9}{'lost':>7}{'photo':>8}{'inverted':>10}{'certain':>9}"
    head += f"{'ECE':>7}{'flagged':>9}{'misled':>8}"
    yield " " * 24 + head
    group, clean = "clean", None
    for row in found:
        clean = 100 * row.auto if clean is None else clean
        if row.group != group:
            group = row.group
            yield f"\n{group}"
        flagged = "" if row.flagged is None else f"{100 * row.flagged:.1f}"
        auto, plain = 100 * row.auto, 100 * row.native
        allowed = "" if row.allowed is None else f"{row.allowed:.1f}"
        mark = "!" if row.allowed is not None and clean - auto > row.allowed + 1e-9 else " "
        yield (
            f"{row.recipe:24}{auto:7.2f}{clean - auto:7.2f}{allowed:>8}{mark}{plain:9.2f}{clean - plain:7.2f}"
            f"{100 * row.photo:8.1f}{100 * row.inverted:10.1f}{100 * row.certain:9.1f}{100 * row.ece:7.2f}{flagged:>9}"
            f"{100 * row.misled:8.1f}"
        )


def _prepare(recipe: str, number: int, picture: Pixels) -> tuple[Preprocessed, Pixels]:
    """What the network gets to see of the file by `auto`, and by `native`."""
    with Image.open(io.BytesIO(remake(recipe, picture, number))) as image:
        result = preprocess(image)
        plain = result if result.mode == "native" else preprocess(image, mode="native")
    return result, plain.pixels


def _answers(served: Served, pictures: Sequence[Pixels], known: Known) -> Answers:
    """What the service says of them; `known` remembers it."""
    keys = [hashlib.blake2b(picture.tobytes(), digest_size=16).digest() for picture in pictures]
    new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in known}
    if new:
        answers = served.answers(served.run(np.stack(list(new.values()))))
        excess = [0.0] * len(new) if answers.excess is None else answers.excess.tolist()
        known.update(zip(new, zip(answers.probabilities, excess, strict=True), strict=True))
    found = [known[key] for key in keys]
    rows, scores = np.stack([row for row, _ in found]), np.array([score for _, score in found], np.float32)
    return Answers(rows, None, None) if served.threshold is None else Answers(rows, scores > 0, scores)


def _accuracy(answers: Answers, labels: NDArray[np.int64]) -> float:
    return float((answers.probabilities.argmax(1) == labels).mean())


def _trust(answers: Answers, labels: NDArray[np.int64]) -> tuple[float, float | None, float]:
    """Calibration error, share flagged, share of confident wrong answers that are not."""
    flagged = None if answers.flagged is None else float(answers.flagged.mean())
    sure = (answers.probabilities.argmax(1) != labels) & (answers.probabilities.max(1) > SURE)
    misled = sure if answers.flagged is None else sure & ~answers.flagged
    return measure(answers.probabilities, labels).ece, flagged, float(misled.mean())
