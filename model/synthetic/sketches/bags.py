"""Bags drawn by rule."""

import numpy as np
from numpy.random import Generator

from model.synthetic.sketches.figure import (
    Figure,
    arc,
    box,
    disc,
    maybe_add,
    maybe_add_pair,
    mirror,
    round_corners,
    thicken,
)


def bag(rng: Generator) -> Figure:
    kind = rng.choice(["handbag", "handbag", "tote", "briefcase", "crossbody", "backpack", "duffel"])
    wide = {"handbag": 0.5, "tote": 0.38, "briefcase": 0.55, "crossbody": 0.45, "backpack": 0.36, "duffel": 0.6}[kind]
    tall = {"handbag": 0.6, "tote": 0.85, "briefcase": 0.62, "crossbody": 0.55, "backpack": 0.95, "duffel": 0.5}[kind]
    wide, tall = wide * rng.uniform(0.85, 1.15), tall * rng.uniform(0.8, 1.2)
    above = wide * (rng.uniform(0.65, 1.05) if kind in ("handbag", "tote") else rng.uniform(0.92, 1))
    body = mirror([[above, 0], [wide, tall]])
    if kind in ("backpack", "duffel") or rng.random() < 0.5:
        body = round_corners(body, 2, share=rng.uniform(0.08, 0.25))
    figure = Figure([body])
    handle = rng.uniform(0.03, 0.09)
    reach, rise = rng.uniform(0.35, 0.8) * above, rng.uniform(0.2, 0.5)
    if kind in ("briefcase", "backpack"):
        reach, rise = rng.uniform(0.12, 0.25), rng.uniform(0.1, 0.2)
    if kind == "crossbody":
        reach, rise, handle = above * 0.95, rng.uniform(0.4, 0.9), handle * 0.6
    if rng.random() < 0.92:
        bow = arc(0, 0.03, reach, rise, np.pi, 2 * np.pi)
        if rng.random() < 0.3:
            bow = np.array([[-reach, 0.03], [-reach * 0.8, -rise], [reach * 0.8, -rise], [reach, 0.03]])
        figure.shapes.append(thicken(bow, handle))
        maybe_add(rng, figure.shapes, 0.15, thicken(bow * [0.85, 0.8], handle))
        maybe_add_pair(rng, figure.lines, 0.2, np.array([[reach, 0], [reach, 0.2 * tall]]))
    flap = [[above, 0], [above * rng.uniform(0.7, 1), tall * rng.uniform(0.25, 0.4)]]
    point = [[0.02, tall * rng.uniform(0.4, 0.65)]] if rng.random() < 0.4 else []
    where = figure.patches if rng.random() < 0.5 else figure.lines
    maybe_add(rng, where, 0.7 if kind == "crossbody" else 0.3, mirror([*flap, *point]))
    maybe_add(rng, where, 0.4, np.array([[-above, 0.2 * tall], [above, 0.2 * tall]]))
    maybe_add(rng, figure.patches, 0.4, box(-0.06, 0.3 * tall, 0.06, 0.45 * tall), disc(0, 0.4 * tall, 0.06))
    if kind == "backpack" or rng.random() < 0.15:
        where.append(mirror([[0.7 * wide, 0.55 * tall], [0.7 * wide, 0.88 * tall]]))
    return figure
