"""Robustness: accuracy, calibration error and fraction flagged on pictures that were made into typical uploads.

Each recipe of model.synthetic.uploads turns every picture into a file. The file is opened and preprocessed as in the
service, once with `mode=auto` and once with `mode=native`. The first row has the unchanged pictures ("clean").
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

from model.calibrate.reliability import measure_reliability
from model.evaluate.served_precisions import Predictions, ServedModel
from model.preprocess import Pixels, Preprocessed, native, preprocess
from model.synthetic.uploads import GROUPS, make_upload

CONFIDENT = 0.8
"""A wrong answer with a higher confidence counts as misleading if it is not flagged."""

Cache = dict[bytes, tuple[NDArray[np.float32], float]]
"""Probabilities and the score minus the threshold, by the hash of the network's input; many inputs are identical."""


@dataclass(frozen=True)
class Row:
    """One recipe's figures, as fractions of the pictures. The field names are keys of the model card's figures.json."""

    group: str
    allowed: float | None
    """Percentage points of accuracy that `auto` may lose against the clean pictures; None without a bound."""
    recipe: str
    auto: float
    """Accuracy with `mode=auto`."""
    native: float
    """Accuracy with `mode=native`."""
    photo: float
    """`auto` processed them as photos."""
    inverted: float
    """`auto` inverted them."""
    certain: float
    """`auto` was certain of its preprocessing."""
    ece: float
    """Expected calibration error of `auto`."""
    flagged: float | None
    """Called out of distribution with `auto`; None without a detector."""
    misled: float
    """Wrong answers with a confidence above CONFIDENT that are not flagged."""


def measure_rows(
    model: ServedModel, pixels: Pixels, labels: NDArray[np.int64], pool: Pool, only: str = ""
) -> Iterator[Row]:
    """Measures pictures uint8 [n,28,28]. `only` selects a group by its name or recipes by a part of theirs."""
    cache: Cache = {}
    unchanged = np.stack([native(Image.fromarray(picture)) for picture in pixels])
    by_native = _predict(model, list(unchanged), cache)
    clean = model.correct_quarter_turns(unchanged, by_native)
    auto, as_native = _accuracy(clean, labels), _accuracy(by_native, labels)
    yield Row("clean", 0.0, "28×28, as it is", auto, as_native, 0, 0, 1, *_confidence_figures(clean, labels))
    for group, (allowed, recipes) in GROUPS.items():
        for recipe in recipes:
            if only not in recipe and only != group:
                continue
            uploads = pool.starmap(partial(_preprocess_upload, recipe), enumerate(pixels), chunksize=50)
            results = [result for result, _ in uploads]
            inputs = [result.pixels for result in results]
            by_auto = model.correct_quarter_turns(np.stack(inputs), _predict(model, inputs, cache))
            by_native = _predict(model, [native_pixels for _, native_pixels in uploads], cache)
            yield Row(
                *(group, allowed, recipe),
                _accuracy(by_auto, labels),
                _accuracy(by_native, labels),
                float(np.mean([result.mode == "photo" for result in results])),
                float(np.mean([result.inverted for result in results])),
                float(np.mean([result.certain for result in results])),
                *_confidence_figures(by_auto, labels),
            )


def table(rows: Iterator[Row]) -> Iterator[str]:
    """The rows as lines of text in percent, each as soon as it is measured; `lost` is in points against the first."""
    head = f"{'auto':>7}{'lost':>7}{'allowed':>9}{'native':>9}{'lost':>7}{'photo':>8}{'inverted':>10}{'certain':>9}"
    head += f"{'ECE':>7}{'flagged':>9}{'misled':>8}"
    yield " " * 24 + head
    group, clean = "clean", None
    for row in rows:
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


def _preprocess_upload(recipe: str, number: int, picture: Pixels) -> tuple[Preprocessed, Pixels]:
    """The recipe's file, preprocessed with `auto`, and its pixels with `native`."""
    with Image.open(io.BytesIO(make_upload(recipe, picture, number))) as image:
        result = preprocess(image)
        by_native = result if result.mode == "native" else preprocess(image, mode="native")
    return result, by_native.pixels


def _predict(model: ServedModel, pictures: Sequence[Pixels], cache: Cache) -> Predictions:
    """The service's answers, from the cache where it has them."""
    keys = [hashlib.blake2b(picture.tobytes(), digest_size=16).digest() for picture in pictures]
    new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in cache}
    if new:
        predictions = model.predictions(model.run(np.stack(list(new.values()))))
        scores = [0.0] * len(new) if predictions.excess is None else predictions.excess.tolist()
        cache.update(zip(new, zip(predictions.probabilities, scores, strict=True), strict=True))
    found = [cache[key] for key in keys]
    probabilities, excess = np.stack([row for row, _ in found]), np.array([score for _, score in found], np.float32)
    return (
        Predictions(probabilities, None, None)
        if model.threshold is None
        else Predictions(probabilities, excess > 0, excess)
    )


def _accuracy(predictions: Predictions, labels: NDArray[np.int64]) -> float:
    return float((predictions.probabilities.argmax(1) == labels).mean())


def _confidence_figures(predictions: Predictions, labels: NDArray[np.int64]) -> tuple[float, float | None, float]:
    """The row's `ece`, `flagged` and `misled`."""
    probabilities, flagged = predictions.probabilities, predictions.flagged
    misled = (probabilities.argmax(1) != labels) & (probabilities.max(1) > CONFIDENT)
    if flagged is not None:
        misled &= ~flagged
    ece = measure_reliability(probabilities, labels).ece
    return ece, None if flagged is None else float(flagged.mean()), float(misled.mean())
