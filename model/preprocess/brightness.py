"""How light each pixel of the garment is, and what a drawing of a garment is filled with.

The data set's garments are of cloth, light all over on black. An outline's inside, and the slits in a flat shape, look
like the background to any trimming; here they become what cloth and seams are there.
"""

import numpy as np

from model.preprocess.background import Floats
from model.preprocess.silhouette import Mask, filled

HOLLOW = 0.5
"""More of the silhouette than this looks like the background: an outline, or white on transparency."""

MID_TONE = 0.6
"""What a hollow silhouette is filled with."""

INK, MIXED = 0.3, 0.22
"""A drawing's strongest tone, at least, and the share of its silhouette, at most, that is neither of it nor empty."""

SEAM, BODY = 0.3, 0.9
"""What is filled into a drawing's slits, where the data set's garments have seams, and between bold lines."""

EMPTY = ((0.6, MID_TONE), (0.3, BODY), (0.1, SEAM))
"""More of a drawing's silhouette than the first is empty, and filled with the second: thin lines, bold ones, slits."""

FAINTEST = 0.1
"""Of full intensity."""


def tones_of(gray: Floats, back: Floats, mask: Mask | None, *, inverted: bool) -> tuple[Floats, bool]:
    """The background 0, the garment light, at most 1 or so; and whether it was filled so that it is averaged.

    `gray` and `back`, the background's, are luma of 0–255, [h,w] like `mask`, the garment's pixels where it is known.
    """
    tones: Floats = np.abs(gray - back) / np.maximum(back if inverted else 255 - back, 64)
    if mask is None or not mask.any():
        return tones, False
    silhouette, is_drawn = _silhouette(tones, mask)
    shown: Floats = tones / tones[mask].max() if is_drawn else tones
    fill = _filling(float((shown[silhouette] < FAINTEST).mean()), is_drawn)
    if fill is None:
        return tones, False
    return np.where(silhouette, fill + shown * (1 - fill), shown), fill != BODY


def _silhouette(tones: Floats, mask: Mask) -> tuple[Mask, bool]:
    """What the mask encloses, if it is sparse or a drawing's; and whether it is: ink, nothing, and little between."""
    if max(mask.shape) <= 56:
        return mask, False
    top, is_sparse = float(tones[mask].max()), bool(mask.mean() < 0.5)
    mixed = int((mask & (tones > FAINTEST * top) & (tones < (1 - FAINTEST) * top)).sum())
    may_be_drawn = top >= INK and mixed <= MIXED * mask.size  # filling takes long
    silhouette = filled(mask) if is_sparse or may_be_drawn else mask
    if may_be_drawn and mixed <= MIXED * int(silhouette.sum()):
        return silhouette, True
    return silhouette if is_sparse else mask, False


def _filling(empty: float, is_drawn: bool) -> float | None:
    """The tone for what is empty of a silhouette, such a share of it; None if it stays empty."""
    if is_drawn:
        return next((tone for least, tone in EMPTY if empty > least), None)
    return MID_TONE if empty > HOLLOW else None
