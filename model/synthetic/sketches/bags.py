"""Random figures of bags."""

import numpy as np
from numpy.random import Generator

from model.synthetic.sketches.figure import Figure, arc, band, box, disc, maybe_add, maybe_add_pair, mirrored, rounded

SIZES = {
    **{"handbag": (0.5, 0.6), "tote": (0.38, 0.85), "briefcase": (0.55, 0.62), "crossbody": (0.45, 0.55)},
    **{"backpack": (0.36, 0.95), "duffel": (0.6, 0.5)},
}
"""Half the width, and the height, of each kind of bag."""


def bag(rng: Generator) -> Figure:
    kind = rng.choice(["handbag", "handbag", "tote", "briefcase", "crossbody", "backpack", "duffel"])
    half_width, height = SIZES[kind]
    half_width, height = half_width * rng.uniform(0.85, 1.15), height * rng.uniform(0.8, 1.2)
    top = half_width * (rng.uniform(0.65, 1.05) if kind in ("handbag", "tote") else rng.uniform(0.92, 1))
    body = mirrored([[top, 0], [half_width, height]])
    if kind in ("backpack", "duffel") or rng.random() < 0.5:
        body = rounded(body, 2, share=rng.uniform(0.08, 0.25))
    figure = Figure([body])
    strap_width = rng.uniform(0.03, 0.09)
    reach, rise = rng.uniform(0.35, 0.8) * top, rng.uniform(0.2, 0.5)
    if kind in ("briefcase", "backpack"):
        reach, rise = rng.uniform(0.12, 0.25), rng.uniform(0.1, 0.2)
    if kind == "crossbody":
        reach, rise, strap_width = top * 0.95, rng.uniform(0.4, 0.9), strap_width * 0.6
    if rng.random() < 0.92:
        strap = arc(0, 0.03, reach, rise, np.pi, 2 * np.pi)
        if rng.random() < 0.3:
            strap = np.array([[-reach, 0.03], [-reach * 0.8, -rise], [reach * 0.8, -rise], [reach, 0.03]])
        figure.shapes.append(band(strap, strap_width))
        maybe_add(rng, figure.shapes, 0.15, band(strap * [0.85, 0.8], strap_width))
        maybe_add_pair(rng, figure.lines, 0.2, np.array([[reach, 0], [reach, 0.2 * height]]))
    flap = [[top, 0], [top * rng.uniform(0.7, 1), height * rng.uniform(0.25, 0.4)]]
    point = [[0.02, height * rng.uniform(0.4, 0.65)]] if rng.random() < 0.4 else []
    details = figure.patches if rng.random() < 0.5 else figure.lines
    maybe_add(rng, details, 0.7 if kind == "crossbody" else 0.3, mirrored([*flap, *point]))
    maybe_add(rng, details, 0.4, np.array([[-top, 0.2 * height], [top, 0.2 * height]]))
    maybe_add(rng, figure.patches, 0.4, box(-0.06, 0.3 * height, 0.06, 0.45 * height), disc(0, 0.4 * height, 0.06))
    if kind == "backpack" or rng.random() < 0.15:
        details.append(mirrored([[0.7 * half_width, 0.55 * height], [0.7 * half_width, 0.88 * height]]))
    return figure
