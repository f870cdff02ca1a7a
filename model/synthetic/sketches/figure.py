"""What figures are made of: outlines, mirrored, rounded, turned, and lines with a width."""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
"""[n,2], x to the right and y down, in units of about the figure's size."""


@dataclass
class Figure:
    """What a drawing consists of, from the back to the front."""

    shapes: list[Points] = field(default_factory=list)
    """What the garment covers."""
    patches: list[Points] = field(default_factory=list)
    """Parts of another tone: soles, collars, pockets."""
    lines: list[Points] = field(default_factory=list)
    """Seams, laces, creases."""


def some(rng: Generator, where: list[Points], chance: float, *choices: Points) -> None:
    if rng.random() < chance:
        where.append(choices[rng.integers(len(choices))])


def pair(rng: Generator, where: list[Points], chance: float, right: Points) -> None:
    if rng.random() < chance:
        where += [right, right * [-1, 1]]


def mirrored(right: ArrayLike, closed: bool = True) -> Points:
    """The right half of an outline, from its top to its bottom → the whole of it."""
    half = np.asarray(right, float).reshape(-1, 2)
    return np.vstack([half, half[::-1] * [-1, 1]]) if closed else np.vstack([half[::-1], half * [-1, 1]])


def rounded(points: Points, times: int, share: float = 0.25, closed: bool = True) -> Points:
    """Corners cut `times` times (Chaikin 1974)."""
    for _ in range(times):
        following = np.roll(points, -1, axis=0)
        cut = np.stack([(1 - share) * points + share * following, share * points + (1 - share) * following], axis=1)
        points = cut.reshape(-1, 2) if closed else np.vstack([points[:1], cut[:-1].reshape(-1, 2), points[-1:]])
    return points


def band(path: Points, width: float) -> Points:
    """A path with a width → its outline."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    beside = along[:, ::-1] * [-0.5 * width, 0.5 * width]
    return np.vstack([path + beside, (path - beside)[::-1]])


def arc(x: float, y: float, wide: float, high: float, begin: float, end: float) -> Points:
    angles = np.linspace(begin, end, 24)
    return np.stack([x + wide * np.cos(angles), y + high * np.sin(angles)], axis=1)


def disc(x: float, y: float, radius: float) -> Points:
    return arc(x, y, radius, radius, 0, 2 * np.pi)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def turned(points: Points, angle: float) -> Points:
    cos, sin = np.cos(angle), np.sin(angle)
    result: Points = points @ np.array([[cos, sin], [-sin, cos]])
    return result
