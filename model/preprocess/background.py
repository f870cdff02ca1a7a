"""Estimates the background from the picture's border: its colour and its noise. Finds the pixels that differ from it.

An uneven background, such as a vignette or light from one side, is modelled by a second-degree polynomial per
channel. An even one is modelled as a single colour.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.preprocess.silhouette import Mask

Floats = NDArray[np.float32]

BORDER_DEPTH = 0.03
"""Depth of the border that is measured, as a share of the picture's shorter side."""

FIT_TOLERANCE = 40
"""The polynomial is first fitted to the pixels within so many gray levels of the border's most frequent level."""

COLOUR_TOLERANCE = 12
"""A pixel within so many gray levels of the background is background; more where the background is noisy."""

MAX_FLAT_NOISE = 2.5
"""The largest standard deviation, in gray levels, of a background that counts as a single colour."""

MIN_DIFFERENCE = 0.05
"""Of full intensity: a pixel that differs less is background (Xiao et al. 2017)."""

MIN_RELATIVE_DIFFERENCE = 0.08
"""Of the strongest difference: a pixel that differs less is a shadow or compression noise."""

LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, as in Pillow's convert("L")."""


def float_channels(pixels: NDArray[np.uint8]) -> Floats:
    """uint8 [h,w] or [h,w,3] → float32 [h,w,c]."""
    return pixels.reshape(*pixels.shape[:2], -1).astype(np.float32)


def luma(values: Floats) -> Floats:
    """float32 […,c] → […]."""
    gray: Floats = values[..., 0] if values.shape[-1] == 1 else values @ LUMA_WEIGHTS
    return gray


@dataclass(frozen=True)
class Background:
    """The background's colour at each place of the picture."""

    coefficients: Floats
    """[k,c] of 1, x, y, x², xy, y², with x and y from -1 to 1 across the picture; k = 1 for a single colour."""
    noise: float
    """Standard deviation of the border's pixels around the fitted background, in gray levels."""
    border_share: float
    """Share of the border that is background, 0–1."""

    @property
    def level(self) -> float:
        """The mean gray level along the border, 0–255."""
        constant, *others = self.coefficients
        return float(luma(constant + (others[2] + others[4]) * np.float32(2 / 3) if others else constant))

    def sample(self, box: tuple[float, float, float, float], shape: tuple[int, int]) -> Floats:
        """The colours on a grid of `shape` over `box` (0–1 of the picture) → [h,w,c], or [1,1,c] if all are equal."""
        if len(self.coefficients) == 1:
            return self.coefficients[None]
        height, width = shape
        x = np.linspace(box[0], box[2], 2 * width + 1, dtype=np.float32)[None, 1::2, None] * 2 - 1
        y = np.linspace(box[1], box[3], 2 * height + 1, dtype=np.float32)[1::2, None, None] * 2 - 1
        one, a, b, aa, ab, bb = self.coefficients
        surface: Floats = one + a * x + aa * x * x + (b + ab * x) * y + bb * (y * y)
        np.clip(surface, 0, 255, out=surface)
        return surface

    def difference(self, values: Floats, box: tuple[float, float, float, float]) -> Floats:
        """The largest difference of any channel from the background, in gray levels: [h,w,c] over `box` → [h,w]."""
        off = np.abs(values - self.sample(box, (values.shape[0], values.shape[1])))
        first, *others = (off[..., channel] for channel in range(off.shape[2]))
        largest: Floats = np.maximum(np.maximum(first, others[0]), others[1]) if others else first
        return largest

    def threshold(self, difference: Floats) -> float:
        """The smallest of these differences that makes a pixel foreground, in gray levels."""
        top = difference.size // 50 + 1
        strongest = float(np.partition(difference, -top, axis=None)[-top])
        return max(MIN_DIFFERENCE * 255, 4 * self.noise, MIN_RELATIVE_DIFFERENCE * strongest)


def estimate_background(values: Floats) -> Background:
    """Fits the background to the border of a picture, [h,w,c]."""
    height, width, _ = values.shape
    depth = max(1, round(BORDER_DEPTH * min(height, width)))
    outermost = 1 if depth > 1 else 0  # may be a thin frame
    border = np.zeros((height, width), bool)
    border[outermost : height - outermost, outermost : width - outermost] = True
    border[outermost + depth : height - outermost - depth, outermost + depth : width - outermost - depth] = False
    y, x = np.nonzero(border)
    colours = values[y, x]
    gray = luma(colours)
    counts = np.bincount(gray.astype(np.intp), minlength=256)
    smoothed = np.convolve(counts, np.ones(2 * COLOUR_TOLERANCE + 1), "same")
    peak = gray[np.abs(gray - smoothed.argmax()) <= COLOUR_TOLERANCE]
    level = float(np.median(peak)) if len(peak) else float(np.median(gray))
    near = np.abs(gray - level) <= COLOUR_TOLERANCE
    if near.mean() > 0.5 and gray[near].std() <= MAX_FLAT_NOISE:
        return Background(np.median(colours[near], axis=0)[None], float(gray[near].std()), float(near.mean()))
    fits = np.abs(gray - level) <= FIT_TOLERANCE
    return _fit_polynomial(colours, gray, fits, (2 * x + 1) / width - 1, (2 * y + 1) / height - 1)


def _fit_polynomial(
    colours: Floats, gray: Floats, fits: Mask, x: NDArray[np.float64], y: NDArray[np.float64]
) -> Background:
    """Least squares over the pixels that fit, repeated three times with the pixels that fit the last result."""
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1).astype(np.float32)
    noise = 0.0
    for _ in range(3):
        if fits.sum() < 12:
            return Background(np.median(colours, axis=0)[None], float(gray.std()), float(fits.mean()))
        chosen = terms[fits]
        normal = chosen.T @ chosen + np.eye(6, dtype=np.float32) * (1e-3 * len(chosen))
        normal[0, 0] -= np.float32(1e-3 * len(chosen))
        coefficients = np.linalg.solve(normal, chosen.T @ colours[fits])
        off = np.abs(gray - luma(terms @ coefficients))
        noise = 1.4826 * float(np.median(off[fits]))
        fits = off <= max(COLOUR_TOLERANCE, 3 * noise)
    return Background(coefficients.astype(np.float32), noise, float(fits.mean()))
