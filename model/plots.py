"""Draws the model card's plots as small PNG files, one function for each plot."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

DPI = 90

COLOURS = 64
"""Colours in a file's palette: a palette reduces the file to a third."""

Figures = dict[str, Any]
"""A row of measured figures by name."""


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """Confusion matrix: counts, coloured by their share of the true class."""
    matrix = np.array(counts)
    figure, axes = pyplot.subplots(figsize=(7.5, 6.5), layout="constrained")
    axes.imshow(np.sqrt(matrix / matrix.sum(1, keepdims=True).clip(1)), cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(matrix):
        if count:
            axes.text(j, i, str(count), ha="center", va="center", fontsize=8, color="white" if i == j else "black")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    _save(figure, path)


def reliability(diagrams: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """Reliability diagrams of bins: number of pictures, mean confidence, accuracy."""
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(5.5, 6), layout="constrained", sharex=True, height_ratios=(3, 1)
    )
    above.plot([0, 1], [0, 1], color="gray", linewidth=1)
    for name, bins in diagrams.items():
        kept = [(confidence, accuracy) for n, confidence, accuracy in bins if n >= 10]
        above.plot(*zip(*kept, strict=True), marker="o", label=name)
        below.stairs([n for n, _, _ in bins], np.linspace(0, 1, len(bins) + 1), label=name)
    above.set_ylabel("accuracy (bins of 10 pictures and more)")
    above.legend()
    below.set_ylabel("pictures")
    below.set_yscale("log")
    below.set_xlabel("confidence")
    _save(figure, path)


def outliers(
    histograms: dict[str, list[float]], limits: tuple[float, float], threshold: float | None, path: Path
) -> None:
    """Histogram of the detector's scores between two limits, for each data set."""
    figure, rows = pyplot.subplots(len(histograms), 1, figsize=(7, 7), layout="constrained", sharex=True)
    for axes, (name, shares) in zip(rows, histograms.items(), strict=True):
        garments = name in ("validation", "test")
        axes.stairs(
            shares, np.linspace(*limits, len(shares) + 1), fill=True, color="tab:blue" if garments else "tab:orange"
        )
        axes.set_yticks([])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        if threshold is not None:
            axes.axvline(threshold, color="black", linewidth=1, linestyle=":")
    rows[-1].set_xlabel("out-of-distribution score (dotted: the threshold)")
    _save(figure, path)


def robustness(rows: Sequence[Figures], path: Path) -> None:
    """Accuracy and share of pictures flagged as out of distribution, for each upload recipe."""
    figure, axes = pyplot.subplots(figsize=(7, 0.2 * len(rows) + 1), layout="constrained")
    places = np.arange(len(rows))
    axes.barh(places - 0.2, [100 * row["auto"] for row in rows], 0.4, label="accuracy, %")
    axes.barh(places + 0.2, [100 * (row["flagged"] or 0) for row in rows], 0.4, label="out of distribution, %")
    axes.set_yticks(places, [row["recipe"] for row in rows], fontsize=6)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def curves(history: Sequence[Figures], path: Path) -> None:
    """Loss and accuracy by epoch; dotted lines where the resolution changed."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["loss"] for row in history], label="training loss")
    right.plot(epochs, [row["accuracy"] for row in history], label="training, augmented")
    right.plot(epochs, [row["validation"] for row in history], label="validation, averaged weights")
    right.set_ylim(bottom=max(0.0, min(row["validation"] for row in history[-10:]) - 0.08), top=1)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
        for a, b in pairwise(history):
            if a["resolution"] != b["resolution"]:
                axes.axvline(b["epoch"] - 0.5, linestyle=":", color="gray")
    _save(figure, path)


def hardest(rows: Sequence[Figures], pixels: NDArray[np.uint8], classes: Sequence[str], path: Path) -> None:
    """The wrong predictions with the highest confidence; `pixels`, uint8 [n,h,w], is the test set."""
    figure, grid = pyplot.subplots(3, 8, figsize=(9, 4.2), layout="constrained")
    for axes in grid.flat:
        axes.axis("off")
    for axes, row in zip(grid.flat, rows, strict=False):
        axes.imshow(pixels[row["picture"]], cmap="gray", vmin=0, vmax=255)
        axes.set_title(f"{classes[row['true']]}\n→ {classes[row['said']]}", fontsize=7)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    pyplot.close(figure)
    with Image.open(path) as image:
        quantized = image.convert("RGB").quantize(COLOURS)
    quantized.save(path, optimize=True)
