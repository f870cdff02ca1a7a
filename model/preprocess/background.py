"""What is behind the garment, measured at the picture's border: its colour, how it varies, what differs from it.

A smooth surface of second degree per channel follows a vignette or a lamp at one side; a background
that is flat stays exactly flat.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

RING = 0.03
"""Of the shorter side: how far in the border reaches."""

NEAR = 40
"""Gray levels around the border's commonest one within which the surface is looked for."""

CLOSE = 12
"""Gray levels from the surface within which a border pixel is background; more where it is noisy."""

FLAT = 2.5
"""Standard deviation, in gray levels, up to which a background is one colour."""

TRIMMED = 0.05
"""Of full intensity: what differs less from the background is background (Xiao et al. 2017)."""

FAINT = 0.08
"""Of the strongest difference: what differs less is a shadow or the compression's noise."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, as in Pillow's convert("L")."""


def samples(pixels: Pixels) -> Floats:
    """uint8 [h,w] or [h,w,3] → float32 [h,w,c]."""
    return pixels.reshape(*pixels.shape[:2], -1).astype(np.float32)


def luma(values: Floats) -> Floats:
    """float32 […,c] → […]."""
    gray: Floats = values[..., 0] if values.shape[-1] == 1 else values @ LUMA
    return gray


@dataclass(frozen=True)
class Background:
    """A surface over the whole picture."""

    coefficients: Floats
    """[k,c] of 1, x, y, x², xy, y², with x and y from -1 to 1 across the picture; k = 1 where it is flat."""
    noise: float
    """Standard deviation around it, in gray levels."""
    share: float
    """Of the border that belongs to it, 0–1."""

    @property
    def level(self) -> float:
        """Its gray level, 0–255, on the average of the border."""
        constant, *others = self.coefficients
        return float(luma(constant + (others[2] + others[4]) * np.float32(2 / 3) if others else constant))

    def over(self, box: tuple[float, float, float, float], shape: tuple[int, int]) -> Floats:
        """The surface sampled on a grid of `shape` over a part of the picture, 0–1 both ways → [h,w,c] or [1,1,c]."""
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
        """How far each pixel is from the background, in its most telling channel: [h,w,c] → [h,w]."""
        off = np.abs(values - self.over(box, (values.shape[0], values.shape[1])))
        first, *others = (off[..., channel] for channel in range(off.shape[2]))
        largest: Floats = np.maximum(np.maximum(first, others[0]), others[1]) if others else first
        return largest

    def threshold(self, difference: Floats) -> float:
        """From which difference on a pixel is something else."""
        top = difference.size // 50 + 1
        strongest = float(np.partition(difference, -top, axis=None)[-top])
        return max(TRIMMED * 255, 4 * self.noise, FAINT * strongest)


def find_background(values: Floats) -> Background:
    """From the border of a picture, [h,w,c]."""
    height, width, _ = values.shape
    depth = max(1, round(RING * min(height, width)))
    outermost = 1 if depth > 1 else 0  # may be a thin frame
    border = np.zeros((height, width), bool)
    border[outermost : height - outermost, outermost : width - outermost] = True
    border[outermost + depth : height - outermost - depth, outermost + depth : width - outermost - depth] = False
    y, x = np.nonzero(border)
    ring = values[y, x]
    gray = luma(ring)
    counts = np.convolve(np.bincount(gray.astype(np.intp), minlength=256), np.ones(2 * CLOSE + 1), "same")
    peak = gray[np.abs(gray - counts.argmax()) <= CLOSE]
    level = float(np.median(peak)) if len(peak) else float(np.median(gray))
    near = np.abs(gray - level) <= CLOSE
    if near.mean() > 0.5 and gray[near].std() <= FLAT:
        return Background(np.median(ring[near], axis=0)[None], float(gray[near].std()), float(near.mean()))
    return _surface(ring, gray, np.abs(gray - level) <= NEAR, (2 * x + 1) / width - 1, (2 * y + 1) / height - 1)


def _surface(ring: Floats, gray: Floats, fits: Mask, x: NDArray[np.float64], y: NDArray[np.float64]) -> Background:
    """Least squares over what fits, three times over."""
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1).astype(np.float32)
    noise = 0.0
    for _ in range(3):
        if fits.sum() < 12:
            return Background(np.median(ring, axis=0)[None], float(gray.std()), float(fits.mean()))
        chosen = terms[fits]
        normal = chosen.T @ chosen + np.eye(6, dtype=np.float32) * (1e-3 * len(chosen))
        normal[0, 0] -= np.float32(1e-3 * len(chosen))
        coefficients = np.linalg.solve(normal, chosen.T @ ring[fits])
        off = np.abs(gray - luma(terms @ coefficients))
        noise = 1.4826 * float(np.median(off[fits]))
        fits = off <= max(CLOSE, 3 * noise)
    return Background(coefficients.astype(np.float32), noise, float(fits.mean()))
