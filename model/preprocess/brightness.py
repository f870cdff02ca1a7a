"""Computes the garment's gray levels on black, and fills outlines and slits.

The data set shows garments of cloth: bright areas on black. In drawings, the inside of an outline and the slits in a
flat shape look like background. They are filled here, as bright as cloth and seams are in the data set.
"""

import numpy as np

from model.preprocess.background import Floats
from model.preprocess.silhouette import Mask, fill_holes

MIN_HOLLOW_SHARE = 0.5
"""A silhouette of which more than this looks like background is hollow: an outline, or white on transparency."""

HOLLOW_FILL = 0.6
"""The brightness that a hollow silhouette is filled with, of full brightness."""

MIN_INK, MAX_MIXED_SHARE = 0.3, 0.22
"""A drawing's brightest pixel has at least the first. At most the second of its silhouette is neither ink nor empty."""

SEAM_FILL, BODY_FILL = 0.3, 0.9
"""The brightness that a drawing's slits are filled with, and the area between its bold lines."""

DRAWING_FILLS = ((0.6, HOLLOW_FILL), (0.3, BODY_FILL), (0.1, SEAM_FILL))
"""A drawing's fill by the least empty share of its silhouette, for thin lines, bold lines and slits."""

EMPTY_BRIGHTNESS = 0.1
"""Darker pixels are empty, of full brightness."""

MAX_PLAIN_SIDE = 56
"""Pixels along the longer side: smaller pictures, up to twice the data set's size, have no holes to fill."""


def garment_brightness(gray: Floats, background: Floats, mask: Mask | None, *, inverted: bool) -> tuple[Floats, bool]:
    """The brightness, [h,w], 0 for the background, about 1 at most; and whether to shrink it by averaging.

    `gray` and `background` are luma of 0–255, [h,w] like `mask`, the garment's pixels, if they are known.
    `inverted` says that the background is light.
    """
    brightness: Floats = np.abs(gray - background) / np.maximum(background if inverted else 255 - background, 64)
    if mask is None or not mask.any():
        return brightness, False
    silhouette, is_drawing = _silhouette(brightness, mask)
    shown: Floats = brightness / brightness[mask].max() if is_drawing else brightness
    fill = _fill(float((shown[silhouette] < EMPTY_BRIGHTNESS).mean()), is_drawing)
    if fill is None:
        return brightness, False
    return np.where(silhouette, fill + shown * (1 - fill), shown), fill != BODY_FILL


def _silhouette(brightness: Floats, mask: Mask) -> tuple[Mask, bool]:
    """The mask, with its holes filled if it is sparse or a drawing's; and whether it is a drawing's."""
    if max(mask.shape) <= MAX_PLAIN_SIDE:
        return mask, False
    top, is_sparse = float(brightness[mask].max()), bool(mask.mean() < 0.5)
    is_mixed = (brightness > EMPTY_BRIGHTNESS * top) & (brightness < (1 - EMPTY_BRIGHTNESS) * top)
    mixed = int((mask & is_mixed).sum())
    may_be_drawing = top >= MIN_INK and mixed <= MAX_MIXED_SHARE * mask.size  # checked first: filling takes long
    silhouette = fill_holes(mask) if is_sparse or may_be_drawing else mask
    if may_be_drawing and mixed <= MAX_MIXED_SHARE * int(silhouette.sum()):
        return silhouette, True
    return silhouette if is_sparse else mask, False


def _fill(empty_share: float, is_drawing: bool) -> float | None:
    """The brightness for the empty share of a silhouette; None if it stays empty."""
    if is_drawing:
        return next((fill for least, fill in DRAWING_FILLS if empty_share > least), None)
    return HOLLOW_FILL if empty_share > MIN_HOLLOW_SHARE else None
