"""Renders a figure in a random style: flat, outlined or shaded."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from model.synthetic.drawing import draw_line
from model.synthetic.sketches.figure import Figure, Points, rotated

CANVAS_SIDE = 256
"""Pixels a side of the canvas; the finished drawing may be smaller."""


def render(figure: Figure, rng: Generator, angle: float) -> Image.Image:
    """The figure stretched at random and rotated by `angle` radians, in the middle of a plain square, mode L."""
    figure = _placed(figure, rng, angle)
    style = _random_style(rng)
    image = Image.new("L", (CANVAS_SIDE, CANVAS_SIDE), style.paper)
    pen = ImageDraw.Draw(image)
    merged = rng.random() < 0.6  # no outlines where parts meet
    for parts in [figure.shapes] if merged else [[shape] for shape in figure.shapes]:
        for shape in parts if style.is_outlined else []:
            draw_line(pen, np.vstack([shape, shape[:2]]), style.pen_width, style.ink)
        for shape in parts:
            pen.polygon([tuple(point) for point in shape], fill=style.fill)
    for patch in figure.patches:
        pen.polygon([tuple(point) for point in patch], fill=style.patch_fill)
        if style.name == "outline" or (style.is_outlined and rng.random() < 0.5):
            draw_line(pen, np.vstack([patch, patch[:2]]), max(2, style.pen_width // 2), style.ink)
    for line in figure.lines:
        draw_line(pen, line, max(2, int(style.pen_width * rng.uniform(0.5, 1))), style.line)
    side = int(rng.choice([64, 128, CANVAS_SIDE]))
    image = image.resize((side, side), Image.Resampling.BOX)
    return image.point(lambda level: 255 - level) if rng.random() < 0.12 else image


def _placed(figure: Figure, rng: Generator, angle: float) -> Figure:
    """The figure in pixels of the canvas, with a margin around it."""
    scale = np.exp(rng.uniform(-0.15, 0.15) * np.array([1, -1]))
    everything = np.vstack([rotated(shape * scale, angle) for shape in figure.shapes])
    corner, size = everything.min(0), np.ptp(everything, axis=0)
    zoom = CANVAS_SIDE * rng.uniform(0.6, 0.9) / size.max()

    def placed(parts: list[Points]) -> list[Points]:
        return [(rotated(part * scale, angle) - corner - size / 2) * zoom + CANVAS_SIDE / 2 for part in parts]

    return Figure(placed(figure.shapes), placed(figure.patches), placed(figure.lines))


class _Style(NamedTuple):
    """How a figure is drawn; tones are gray levels of 0–255, widths are pixels."""

    name: str
    """flat, outline or tones."""
    paper: int
    ink: int
    pen_width: int
    fill: int
    patch_fill: int
    line: int
    is_outlined: bool


def _random_style(rng: Generator) -> _Style:
    name = rng.choice(["flat", "outline", "tones"], p=[0.35, 0.35, 0.3])
    paper = int(rng.choice([255, 255, 255, 255, int(rng.integers(215, 255))]))
    ink = int(rng.choice([0, 0, 0, int(rng.integers(0, 110))]))
    pen_width = int(CANVAS_SIDE * rng.uniform(0.012, 0.07))
    fill = {"flat": ink, "outline": paper, "tones": int(rng.integers(50, 225))}[name]
    patch = {"flat": paper, "outline": int(rng.choice([ink, paper, 190])), "tones": int(rng.integers(30, 255))}[name]
    line = paper if name == "flat" else ink if rng.random() < 0.7 else int(rng.integers(0, 255))
    is_outlined = name == "outline" or (name == "tones" and rng.random() < 0.4)
    return _Style(name, paper, ink, pen_width, fill, patch, line, is_outlined)
