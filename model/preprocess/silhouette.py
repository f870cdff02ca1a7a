"""Operations on binary masks, and the choice of the pixels that belong to the garment."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels; right and bottom are exclusive."""

MIN_MAIN_SHARE = 0.04
"""Pieces of at least this share of the largest piece's area always belong to the garment."""

MIN_NEARBY_SHARE = 0.002
"""Smaller pieces, down to this share, belong to the garment if they are close to it."""

NEARBY_DISTANCE = 0.04
"""How close that is, as a share of the garment's longer side."""

SIMPLE_ROUNDS = 8
"""Rounds in which labels spread one bend at a time. Garments need no more."""

MAX_FRAME_DEPTH = 0.04
"""The largest depth of a frame around the picture, as a share of the picture's side."""

MIN_FRAME_COVERAGE = 0.85
"""The smallest share of a side that a frame's line covers."""


def bounding_box(mask: Mask, min_pixels: int = 1) -> Box:
    """The box around the set pixels; the whole area if the mask is empty.

    Rows and columns with fewer than `min_pixels` set pixels do not count.
    """
    columns = np.flatnonzero(mask.sum(axis=0) >= min_pixels)
    rows = np.flatnonzero(mask.sum(axis=1) >= min_pixels)
    if not len(columns) or not len(rows):
        return 0, 0, mask.shape[1], mask.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def dilate(mask: Mask, radius: int = 1) -> Mask:
    """Sets all pixels in the square of `radius` around each set pixel."""
    return np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * radius + 1))).astype(bool)


def connected_components(mask: Mask) -> NDArray[np.intp]:
    """Labels of the 4-connected components: one positive number for each component, 0 where nothing is set.

    Each label spreads along whole runs of pixels, rows and columns in turn, until nothing changes. A garment takes a
    few rounds. A maze would take one for each bend, so labels that have met are replaced everywhere after a while.
    """
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    runs = _runs(mask), _runs(mask.T)
    rounds = 0
    while True:
        before, rounds = labels, rounds + 1
        labels = _spread(_spread(labels, runs[0]).T, runs[1]).T
        if np.array_equal(labels, before):
            return labels
        if rounds > SIMPLE_ROUNDS:
            highest = np.arange(mask.size + 1)
            np.maximum.at(highest, before.ravel(), labels.ravel())
            labels = highest[highest[highest]][labels]


def _runs(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Start and length of each run of equal pixels in the flattened mask; a run ends at the end of its row."""
    change = np.ones(mask.shape, bool)
    np.not_equal(mask[:, 1:], mask[:, :-1], out=change[:, 1:])
    starts = np.flatnonzero(change)
    return starts, np.diff(starts, append=mask.size)


def _spread(labels: NDArray[np.intp], runs: tuple[NDArray[np.intp], NDArray[np.intp]]) -> NDArray[np.intp]:
    """Gives all pixels of a run the run's highest label."""
    starts, lengths = runs
    return np.repeat(np.maximum.reduceat(labels.ravel(), starts), lengths).reshape(labels.shape)


def remove_frame(mask: Mask) -> Mask:
    """Clears thin lines along the border that cover nearly a whole side: they are a frame around the picture."""
    result = mask.copy()
    for lines in (result, result[::-1], result.T, result.T[::-1]):
        covered = lines[: max(2, round(MAX_FRAME_DEPTH * len(lines))) + 1].mean(axis=1) >= MIN_FRAME_COVERAGE
        depth = int(covered.argmin())  # the first line that is not part of a frame
        if not covered.all():
            lines[:depth] = False
    return result


def garment_pixels(mask: Mask) -> Mask | None:
    """The largest connected piece, other large pieces, and small ones close to them; None if nothing is set."""
    labels = connected_components(dilate(mask)) * mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = sizes.max(initial=0)
    if not largest:
        return None
    kept = sizes >= MIN_MAIN_SHARE * largest
    if (sizes > 0).sum() > kept.sum():
        left, top, right, bottom = bounding_box(kept[labels])
        reach = round(NEARBY_DISTANCE * max(right - left, bottom - top))
        around = labels[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach]
        close = np.zeros(len(sizes), bool)
        close[around.ravel()] = True
        kept |= close & (sizes >= max(2, MIN_NEARBY_SHARE * largest))
    return np.asarray(kept[labels])


def fill_holes(mask: Mask) -> Mask:
    """Sets everything that the set pixels enclose; gaps of up to two pixels in an outline count as closed."""
    free = np.pad(~dilate(mask), 1, constant_values=True)
    labels = connected_components(free)
    outside: Mask = labels == labels[0, 0]
    return ~outside[1:-1, 1:-1] | mask
