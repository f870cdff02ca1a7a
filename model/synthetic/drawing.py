"""Lines, random polygons and random fields, for drawing outliers and sketches."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import ImageDraw

Picture = NDArray[np.float32]
"""[side,side], 0 black to 1 white."""


def draw_line(pen: ImageDraw.ImageDraw, path: NDArray[np.float64], width: int, gray: int = 255) -> None:
    """Draws a line through the points, float [n,2], with round ends and corners; `width` in pixels."""
    pen.line([tuple(point) for point in path], fill=gray, width=max(1, width), joint="curve")
    if width > 2:
        for x, y in (path[0], path[-1]):
            pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=gray)


def _straight(points: NDArray[np.float64]) -> NDArray[np.float64]:
    ends: NDArray[np.float64] = points[:2] + np.array([[0, 0], [0.1, 0.1]])  # a dot if both points are the same
    return ends


def _bezier(points: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.linspace(0, 1, 24)[:, None]
    a, b, c, d = points
    curve: NDArray[np.float64] = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
    return curve


def _arc(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of an ellipse; the first two points are corners of its box, the other two give its start and length."""
    start, extent = points[2].sum() / 20, 1.5 + abs(points[3] - points[2]).sum() / 40
    angles = np.linspace(start, start + min(extent, 2 * np.pi), 30)
    centre, radii = points[:2].mean(0), np.maximum(abs(points[0] - points[1]) / 2, 6)
    curve: NDArray[np.float64] = centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return curve


STROKES = (_straight, _straight, _bezier, _arc)
"""Functions from four control points, [4,2], to a path, [n,2]; straight lines are twice as likely."""


def polygon(rng: Generator) -> NDArray[np.float64]:
    """Random corners of a round, regular, star-shaped or irregular polygon of radius 1, float [n,2]."""
    count = int(rng.choice([3, 4, 4, 5, 6, 8, 40]))
    steps = np.sort(rng.random(count)) if rng.random() < 0.3 else np.arange(count) / count
    angles = 2 * np.pi * (steps + rng.random())
    radii = np.where(np.arange(count) % 2, rng.uniform(0.3, 0.6), 1) if rng.random() < 0.3 else np.ones(count)
    points: NDArray[np.float64] = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    return points


def dead_leaves(rng: Generator, side: int) -> Picture:
    """Overlapping discs and squares with power-law sizes, which have the statistics of photographs."""
    picture = np.zeros((side, side), np.float32)
    y, x = np.mgrid[:side, :side] / side
    for _ in range(int(rng.integers(40, 200))):
        radius = 0.02 / np.sqrt(rng.uniform(0.003, 1))
        a, b = rng.uniform(0, 1, 2)
        distance = np.hypot(y - a, x - b) if rng.random() < 0.6 else np.maximum(abs(y - a), abs(x - b))
        picture[distance < radius] = rng.random()
    return clip(picture + rng.uniform(0, 0.1) * power_law_noise(rng, side, 1))


def power_law_noise(rng: Generator, side: int, exponent: float) -> Picture:
    """A Gaussian random field with amplitude f^-exponent, mean 0 and standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = 1
    amplitude = frequency**-exponent
    amplitude[0, 0] = 0
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(side, side))) * amplitude, s=(side, side))
    scaled: Picture = (field / field.std()).astype(np.float32)
    return scaled


def stretch(values: NDArray[np.floating]) -> Picture:
    """Scales the values' range to 0–1."""
    low, high = values.min(), values.max()
    return clip((values - low) / max(high - low, 1e-9))


def clip(values: NDArray[np.floating]) -> Picture:
    """Clips the values to 0–1."""
    picture: Picture = np.clip(values, 0, 1).astype(np.float32)
    return picture
