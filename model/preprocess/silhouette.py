"""Which pixels are the garment: connected pieces, specks and frames left out, outlines filled."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""

PIECE = 0.04
"""Of the largest piece: smaller ones belong to the garment only if they are close to it."""

SPECK = 0.002
"""Of the largest piece: smaller ones never do."""

FRAME = 0.04
"""Of a side: as deep as that a line along the border may be a frame around the picture."""

LINE = 0.85
"""Of a side: what a frame's line covers at least."""


def bounds(mask: Mask, at_least: int = 1) -> Box:
    """The box around what is set, lines with fewer than `at_least` pixels left out; of an empty mask all of it."""
    columns = np.flatnonzero(mask.sum(axis=0) >= at_least)
    rows = np.flatnonzero(mask.sum(axis=1) >= at_least)
    if not len(columns) or not len(rows):
        return 0, 0, mask.shape[1], mask.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def grown(mask: Mask, by: int = 1) -> Mask:
    """Every set pixel with its neighbours."""
    return np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * by + 1))).astype(bool)


def pieces(mask: Mask) -> NDArray[np.intp]:
    """Connected pieces (4 neighbours): the same positive number throughout each, 0 where nothing is set.

    Numbers spread along whole runs of pixels, rows and columns in turn, until nothing changes.
    """
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    runs = _runs(mask), _runs(mask.T)
    while True:
        before = labels
        labels = _spread(_spread(labels, runs[0]).T, runs[1]).T
        if np.array_equal(labels, before):
            return labels


def _runs(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where runs of equal pixels begin in the flattened mask, none across two lines, and how long they are."""
    change = np.ones(mask.shape, bool)
    np.not_equal(mask[:, 1:], mask[:, :-1], out=change[:, 1:])
    starts = np.flatnonzero(change)
    return starts, np.diff(starts, append=mask.size)


def _spread(labels: NDArray[np.intp], runs: tuple[NDArray[np.intp], NDArray[np.intp]]) -> NDArray[np.intp]:
    starts, lengths = runs
    return np.repeat(np.maximum.reduceat(labels.ravel(), starts), lengths).reshape(labels.shape)


def without_frame(mask: Mask) -> Mask:
    """A thin line along the border, nearly all of a side long, is not the garment."""
    result = mask.copy()
    for lines in (result, result[::-1], result.T, result.T[::-1]):
        covered = lines[: max(2, round(FRAME * len(lines))) + 1].mean(axis=1) >= LINE
        depth = int(covered.argmin())  # lines up to the first that is no part of a frame
        if not covered.all():
            lines[:depth] = False
    return result


def garment(mask: Mask) -> Mask | None:
    """The largest piece and what belongs to it; None if nothing is set."""
    labels = pieces(grown(mask)) * mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = sizes.max(initial=0)
    if not largest:
        return None
    kept = sizes >= PIECE * largest
    if (sizes > 0).sum() > kept.sum():
        box = bounds(kept[labels])
        reach = round(0.04 * max(box[2] - box[0], box[3] - box[1]))
        around = labels[max(0, box[1] - reach) : box[3] + reach, max(0, box[0] - reach) : box[2] + reach]
        close = np.zeros(len(sizes), bool)
        close[around.ravel()] = True
        kept |= close & (sizes >= max(2, SPECK * largest))
    return np.asarray(kept[labels])


def filled(mask: Mask) -> Mask:
    """The mask with everything that it encloses."""
    free = np.pad(~grown(mask), 1, constant_values=True)
    labels = pieces(free)
    outside: Mask = labels == labels[0, 0]
    return ~outside[1:-1, 1:-1] | mask
