"""Draws random pictures that are not garments, to train the out-of-distribution detector.

There are seven families: strokes that are no letters, shapes, surfaces, coloured and structured noise, soft light,
and garments cut up. No family holds what the detector is evaluated on (model.evaluate.outlier_sets): noise is never
white, uniform or salt-and-pepper, light never a plain ramp. Each picture has a random size, polarity and contrast.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from model.synthetic.drawing import STROKES, Picture, clip, dead_leaves, draw_line, polygon, power_law_noise, stretch

SIZES = (28, 28, 28, 40, 64, 96, 128, 200)
"""Possible sizes of a picture, in pixels; the data set's own size is the most frequent."""

CANVAS_SIDE = 192
"""Pixels: strokes and shapes are drawn at this size and then reduced, so that their edges are smooth."""


def draw(family: str, count: int, garments: NDArray[np.uint8], seed: int) -> list[Image.Image]:
    """`count` pictures of one of FAMILIES, mode L; `garments`, uint8 [n,h,w], are cut up by the family "pieces"."""
    rng = np.random.default_rng([seed, *family.encode()])
    return [_as_uploaded(FAMILIES[family](rng, garments), rng) for _ in range(count)]


def strokes(rng: Generator, garments: NDArray[np.uint8]) -> Picture:
    """Lines, arcs and curves of one width, on a coarse grid or anywhere, like illegible handwriting."""
    image = Image.new("L", (CANVAS_SIDE, CANVAS_SIDE))
    pen = ImageDraw.Draw(image)
    width = int(rng.uniform(0.02, 0.14) * CANVAS_SIDE)
    box = rng.uniform(0.1, 0.45) * CANVAS_SIDE * np.array([1, rng.uniform(0.6, 1.6)])
    on_grid = rng.random() < 0.6
    end = None
    for _ in range(rng.integers(1, 6)):
        points = rng.integers(-1, 2, (4, 2)) if on_grid else rng.uniform(-1, 1, (4, 2))
        points = CANVAS_SIDE / 2 + points * box
        if end is not None and rng.random() < 0.6:
            points[0] = end  # starts where the last stroke ended
        path = STROKES[rng.integers(len(STROKES))](points)
        draw_line(pen, path, width)
        end = path[-1]
    rotated = image.rotate(rng.normal(0, 12), Image.Resampling.BILINEAR)
    return _to_picture(rotated) * rng.uniform(0.5, 1)


def shapes(rng: Generator, garments: NDArray[np.uint8]) -> Picture:
    """One to five ellipses, polygons, stars and rings, filled or outlined, in flat grays."""
    image = Image.new("L", (CANVAS_SIDE, CANVAS_SIDE))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        centre = CANVAS_SIDE * (0.5 + rng.normal(0, 0.12, 2))
        radius = CANVAS_SIDE * rng.uniform(0.06, 0.5)
        corners = polygon(rng) * radius * np.array([1, rng.uniform(0.4, 1.6)]) + centre
        gray = int(rng.uniform(60, 256))
        if rng.random() < 0.6:
            pen.polygon([tuple(point) for point in corners], fill=gray)
        else:
            draw_line(pen, np.vstack([corners, corners[:1]]), int(CANVAS_SIDE * rng.uniform(0.02, 0.1)), gray)
    return _to_picture(image)


def surfaces(rng: Generator, garments: NDArray[np.uint8]) -> Picture:
    """Dead leaves (Lee, Mumford and Huang 2001), Voronoi cells, blobs or gratings."""
    side = int(rng.choice([64, 96, 128]))
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    kind = rng.integers(4)
    if kind == 0:
        return dead_leaves(rng, side)
    if kind == 1:
        seeds = rng.uniform(0, 1, (int(rng.integers(6, 120)), 2))
        distance = (y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2
        nearest = np.sort(distance, axis=-1)
        cells: Picture = rng.uniform(0, 1, len(seeds))[distance.argmin(-1)].astype(np.float32)
        return cells if rng.random() < 0.5 else stretch(np.sqrt(nearest[..., 1]) - np.sqrt(nearest[..., 0]))
    if kind == 2:
        field = power_law_noise(rng, side, rng.uniform(2.5, 4))
        return (field > np.quantile(field, rng.uniform(0.3, 0.85))).astype(np.float32) * rng.uniform(0.5, 1)
    angle, waves = rng.uniform(0, np.pi), rng.uniform(3, 14)
    wave = np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6) * (x * y))
    return stretch(np.sign(wave) if rng.random() < 0.5 else wave)


def coloured_noise(rng: Generator, garments: NDArray[np.uint8]) -> Picture:
    """Gaussian random fields whose amplitude falls with frequency as f^-a, a from 0.4 to 2.5."""
    field = power_law_noise(rng, int(rng.choice([28, 48, 96])), rng.uniform(0.4, 2.5))
    return clip(0.5 + field * rng.uniform(0.1, 0.35))


def structured_noise(rng: Generator, garments: NDArray[np.uint8]) -> Picture:
    """Mosaics, streaks, exponential speckle or short parallel lines."""
    side = int(rng.choice([28, 48, 96]))
    kind = rng.integers(4)
    if kind == 0:
        tiles = int(rng.integers(3, 15))
        return clip(np.kron(rng.random((tiles, tiles)), np.ones((side // tiles, side // tiles))))
    if kind == 1:
        streaks = np.repeat(rng.random((side, 1)), side, axis=1) + rng.uniform(0, 0.3) * rng.random((side, side))
        return stretch(streaks.T if rng.random() < 0.5 else streaks)
    if kind == 2:
        return clip(rng.exponential(rng.uniform(0.15, 0.5), (side, side)))
    image = Image.new("L", (CANVAS_SIDE, CANVAS_SIDE))
    pen = ImageDraw.Draw(image)
    slant = rng.normal(0, 8, 2)
    for start in rng.uniform(0, CANVAS_SIDE, (int(rng.integers(20, 200)), 2)):
        draw_line(pen, np.array([start, start + slant + rng.normal(0, 3, 2)]), int(rng.integers(2, 7)))
    return _to_picture(image)


def soft_light(rng: Generator, garments: NDArray[np.uint8]) -> Picture:
    """Blurred spots, fans around a point, waves or near-uniform pictures."""
    side = int(rng.choice([28, 64, 96]))
    y, x = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
    kind = rng.integers(4)
    if kind == 0:
        spots = rng.uniform(-0.5, 0.5, (int(rng.integers(2, 6)), 2))
        widths = rng.uniform(0.02, 0.12, len(spots))
        return stretch(sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / w) for (a, b), w in zip(spots, widths, strict=True)))
    if kind == 1:
        a, b = rng.uniform(-0.4, 0.4, 2)
        return stretch((np.arctan2(y - a, x - b) * rng.integers(1, 4) / np.pi + rng.random()) % 1)
    if kind == 2:
        return stretch(np.sin(x * rng.uniform(-9, 9) + rng.uniform(0, 6)) * np.sin(y * rng.uniform(-9, 9)))
    return clip(rng.random() + rng.uniform(0, 0.03) * power_law_noise(rng, side, 1.5))


def pieces(rng: Generator, garments: NDArray[np.uint8]) -> Picture:
    """Garments shuffled, joined from halves, greatly magnified, tiled, or with random Fourier phases."""
    first, second, *others = garments[rng.integers(len(garments), size=6)].astype(np.float32) / 255
    side, kind = len(first), rng.integers(5)
    if kind == 0:
        parts = int(rng.choice([3, 4, 5, 7]))
        size = side // parts
        places = [(i * size, j * size) for i in range(parts) for j in range(parts)]
        shuffled = np.zeros((parts * size, parts * size), np.float32)
        for (a, b), k in zip(places, rng.permutation(len(places)), strict=True):
            c, d = places[k]
            shuffled[a : a + size, b : b + size] = first[c : c + size, d : d + size]
        return shuffled
    if kind == 1:
        rows = np.vstack([first[: side // 2], np.roll(second, side // 3, axis=1)[: side // 2]])
        return rows if rng.random() < 0.5 else np.ascontiguousarray(rows.T)
    if kind == 2:
        part = max(5, int(side * rng.uniform(0.2, 0.4)))
        top, left = rng.integers(side // 4, 3 * side // 4 - part // 2, 2)
        return clip(first[top : top + part, left : left + part])
    if kind == 3:
        return clip(np.vstack([np.hstack([first, second]), np.hstack(others[:2])]))
    phases = np.angle(np.fft.rfft2(rng.random((side, side))))
    return stretch(np.fft.irfft2(np.abs(np.fft.rfft2(first)) * np.exp(1j * phases), s=(side, side)))


Family = Callable[[Generator, NDArray[np.uint8]], Picture]

FAMILIES: dict[str, Family] = {
    family.__name__: family
    for family in (strokes, shapes, surfaces, coloured_noise, structured_noise, soft_light, pieces)
}
"""By name. The name is part of the seed, so another name draws other pictures."""


def _as_uploaded(picture: Picture, rng: Generator) -> Image.Image:
    """The picture in a random size, polarity, sharpness and contrast."""
    contrast = rng.uniform(0.5, 1) if rng.random() < 0.3 else 1
    image = Image.fromarray((255 * picture * contrast).astype(np.uint8))
    side = int(rng.choice(SIZES))
    image = image.resize((side, side), Image.Resampling.BOX if side < image.width else Image.Resampling.BICUBIC)
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(side * rng.uniform(0.005, 0.03)))
    return image.point(lambda v: 255 - v) if rng.random() < 0.4 else image


def _to_picture(image: Image.Image) -> Picture:
    return clip(np.asarray(image) / 255)
