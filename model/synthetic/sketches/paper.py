"""A figure on paper: flat, outlined or in tones, stretched and turned, with room around it."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from model.synthetic.drawing import line
from model.synthetic.sketches.figure import Figure, Points, turned

CANVAS = 256
"""Pixels a side in which figures are drawn; they are sent in this size or reduced."""


def drawn(figure: Figure, rng: Generator, turn: float) -> Image.Image:
    """The figure in some style, stretched and turned, with room around it."""
    scale = np.exp(rng.uniform(-0.15, 0.15) * np.array([1, -1]))
    everything = np.vstack([turned(shape * scale, turn) for shape in figure.shapes])
    corner, size = everything.min(0), np.ptp(everything, axis=0)
    zoom = CANVAS * rng.uniform(0.6, 0.9) / size.max()

    def placed(points: Points) -> Points:
        result: Points = (turned(points * scale, turn) - corner - size / 2) * zoom + CANVAS / 2
        return result

    style = rng.choice(["flat", "outline", "tones"], p=[0.35, 0.35, 0.3])
    paper = int(rng.choice([255, 255, 255, 255, int(rng.integers(215, 255))]))
    ink = int(rng.choice([0, 0, 0, int(rng.integers(0, 110))]))
    pen_width = int(CANVAS * rng.uniform(0.012, 0.07))
    filling = {"flat": ink, "outline": paper, "tones": int(rng.integers(50, 225))}[style]
    patch = {"flat": paper, "outline": int(rng.choice([ink, paper, 190])), "tones": int(rng.integers(30, 255))}[style]
    seam = paper if style == "flat" else ink if rng.random() < 0.7 else int(rng.integers(0, 255))
    edged = style == "outline" or (style == "tones" and rng.random() < 0.4)
    image = Image.new("L", (CANVAS, CANVAS), paper)
    pen = ImageDraw.Draw(image)
    shapes = [placed(shape) for shape in figure.shapes]
    whole = rng.random() < 0.6  # no lines where parts meet
    for parts in [shapes] if whole else [[shape] for shape in shapes]:
        for shape in parts if edged else []:
            line(pen, np.vstack([shape, shape[:2]]), pen_width, ink)
        for shape in parts:
            pen.polygon([tuple(point) for point in shape], fill=filling)
    for points in figure.patches:
        pen.polygon([tuple(point) for point in placed(points)], fill=patch)
        if style == "outline" or (edged and rng.random() < 0.5):
            line(pen, np.vstack([placed(points), placed(points[:2])]), max(2, pen_width // 2), ink)
    for points in figure.lines:
        line(pen, placed(points), max(2, int(pen_width * rng.uniform(0.5, 1))), seam)
    side = int(rng.choice([64, 128, CANVAS]))
    image = image.resize((side, side), Image.Resampling.BOX)
    return image.point(lambda level: 255 - level) if rng.random() < 0.12 else image
