"""Shapes that drawn garments consist of, and operations on outlines."""

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
"""[n,2], x to the right and y down; a figure is about one unit large."""


@dataclass
class Figure:
    """A drawing's parts, drawn in this order."""

    shapes: list[Points] = field(default_factory=list)
    """Outlines of the areas that the garment covers."""
    patches: list[Points] = field(default_factory=list)
    """Outlines of areas in another tone: soles, collars, pockets."""
    lines: list[Points] = field(default_factory=list)
    """Seams, laces, creases."""


def maybe_add(rng: Generator, parts: list[Points], chance: float, *choices: Points) -> None:
    """Adds one of the choices, with a probability of `chance`."""
    if rng.random() < chance:
        parts.append(choices[rng.integers(len(choices))])


def maybe_add_pair(rng: Generator, parts: list[Points], chance: float, right: Points) -> None:
    """Adds a part and its mirror image, with a probability of `chance`."""
    if rng.random() < chance:
        parts += [right, right * [-1, 1]]


def mirrored(right: ArrayLike, closed: bool = True) -> Points:
    """The right half of an outline or a line, from its top to its bottom → the whole."""
    half = np.asarray(right, float).reshape(-1, 2)
    return np.vstack([half, half[::-1] * [-1, 1]]) if closed else np.vstack([half[::-1], half * [-1, 1]])


def rounded(points: Points, times: int, share: float = 0.25, closed: bool = True) -> Points:
    """Cuts each corner `times` times, at `share` of its sides (Chaikin 1974)."""
    for _ in range(times):
        following = np.roll(points, -1, axis=0)
        cut = np.stack([(1 - share) * points + share * following, share * points + (1 - share) * following], axis=1)
        points = cut.reshape(-1, 2) if closed else np.vstack([points[:1], cut[:-1].reshape(-1, 2), points[-1:]])
    return points


def band(path: Points, width: float) -> Points:
    """A line → the outline of a band of that width."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    beside = along[:, ::-1] * [-0.5 * width, 0.5 * width]
    return np.vstack([path + beside, (path - beside)[::-1]])


def arc(x: float, y: float, x_radius: float, y_radius: float, begin: float, end: float) -> Points:
    """Part of an ellipse around x, y, between two angles in radians."""
    angles = np.linspace(begin, end, 24)
    return np.stack([x + x_radius * np.cos(angles), y + y_radius * np.sin(angles)], axis=1)


def disc(x: float, y: float, radius: float) -> Points:
    return arc(x, y, radius, radius, 0, 2 * np.pi)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def rotated(points: Points, angle: float) -> Points:
    """Around the origin, clockwise on the screen, by an angle in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    result: Points = points @ np.array([[cos, sin], [-sin, cos]])
    return result
