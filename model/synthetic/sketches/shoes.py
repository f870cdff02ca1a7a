"""Random figures of shoes from the side, with the toes to the right; flip-flops from above."""

import numpy as np
from numpy.random import Generator

from model.synthetic.sketches.figure import Figure, Points, arc, band, box, maybe_add, mirrored, rotated, rounded


def sneaker(rng: Generator) -> Figure:
    low, top = rng.uniform(0.36, 0.5), rng.uniform(0, 0.08)
    tongue = np.array([rng.uniform(0.3, 0.45), top - rng.uniform(-0.04, 0.07)])
    toe = low - rng.uniform(0.12, 0.2)
    upper = [[0.02, low], [0, low - 0.15], [rng.uniform(0.02, 0.07), top], [0.14, top + 0.03]]
    upper += [[tongue[0] - 0.08, top + rng.uniform(0.02, 0.14)], [*tongue], [tongue[0] + 0.04, tongue[1] + 0.01]]
    upper += [[0.65, toe - 0.06], [0.84, toe], [0.98, low - 0.07], [1, low]]
    figure = Figure([rounded(np.array(upper), int(rng.integers(1, 3)))])
    sole = _sole(rng, low, rng.uniform(0.05, 0.14))
    figure.shapes.append(sole)
    maybe_add(rng, figure.patches, 0.6, sole)
    slope = np.array([0.65, toe - 0.06]) - tongue
    across = np.array([-0.07, 0.12]) * rng.uniform(0.6, 1.2)
    laces = [tongue + slope * t for t in np.linspace(0.15, 0.85, int(rng.integers(2, 6)))]
    if rng.random() < 0.7:
        figure.lines += [np.array([at, at + across]) for at in laces]
    maybe_add(rng, figure.lines, 0.5, np.array([[0.72, toe - 0.02], [0.72, low - 0.08], [0.75, low]]))
    maybe_add(
        rng, figure.lines, 0.4, np.array([[0.2, top + 0.08], [0.24, low]]), np.array([[0.02, low - 0.2], [0.2, low]])
    )
    stripe = np.array([[0.3, low - 0.03], [0.5, low - 0.2], [0.58, low - 0.2], [0.4, low - 0.03]])
    maybe_add(rng, figure.patches, 0.35, stripe)
    if rng.random() < 0.1:  # studs
        figure.shapes += [box(x, low, x + 0.06, low + 0.17) for x in np.linspace(0.05, 0.85, 5)]
    if rng.random() < 0.1:  # in motion
        figure.shapes += [box(-0.3, y, -0.08, y + 0.04) for y in (top + 0.1, low - 0.1, low)]
    return figure


def ankle_boot(rng: Generator) -> Figure:
    tall, front = rng.uniform(0.75, 1.1), rng.uniform(0.36, 0.5)
    lean = rng.uniform(-0.04, 0.06)
    instep = tall - rng.uniform(0.33, 0.48)
    upper = [[0.03, tall], [0.02 + lean / 2, instep], [lean, 0], [lean + front, rng.uniform(-0.04, 0.06)]]
    upper += [[front, instep], [0.68, instep + 0.12], [0.9, tall - 0.23], [0.99, tall - 0.1], [0.99, tall]]
    outline = np.array(upper)
    figure = Figure([rounded(outline, int(rng.integers(1, 3))) if rng.random() < 0.7 else outline])
    thick = rng.uniform(0.05, 0.13)
    if rng.random() < 0.45:  # a heel of its own
        heel, wide = rng.uniform(0.07, 0.3), rng.uniform(0.08, 0.35)
        figure.shapes.append(
            np.array([[0.03, tall - 0.02], [0.03 + wide, tall], [wide, tall + heel], [0.03, tall + heel]])
        )
        figure.shapes[0][:, 1] += heel * 0.8 * np.clip((figure.shapes[0][:, 0] - 0.3) / 0.5, 0, 1) ** 1.5
    else:
        sole = _sole(rng, tall, thick)
        figure.shapes.append(sole)
        maybe_add(rng, figure.patches, 0.5, sole)
        if rng.random() < 0.3:
            figure.shapes += [box(x, tall, x + 0.11, tall + thick + 0.06) for x in np.linspace(0.03, 0.86, 5)]
    _add_fastening(rng, figure, front, instep, tall)
    maybe_add(rng, figure.patches if rng.random() < 0.6 else figure.lines, 0.3, box(lean, 0, lean + front, 0.1))
    maybe_add(rng, figure.lines, 0.3, np.array([[0.75, tall - 0.25], [0.7, tall]]))
    return figure


def _add_fastening(rng: Generator, figure: Figure, front: float, instep: float, tall: float) -> None:
    """Adds an ankle boot's laces or elastic sides."""
    if rng.random() < 0.5:
        steps = np.linspace(0.12, instep + 0.08, int(rng.integers(2, 6)))
        reach = rng.uniform(0.12, 0.25)
        figure.lines += [np.array([[front + 0.02, y], [front - reach, y + 0.02]]) for y in steps]
        maybe_add(rng, figure.lines, 0.4, np.array([[front - reach, 0], [front - reach, instep + 0.1], [0.6, tall]]))
    else:
        elastic = np.array([[0.13, 0], [0.33, 0], [0.26, instep], [0.17, instep]])
        maybe_add(rng, figure.patches if rng.random() < 0.6 else figure.lines, 0.5, elastic)
        maybe_add(rng, figure.lines, 0.3, np.array([[0, instep + 0.1], [0.45, instep + 0.1]]))


def sandal(rng: Generator) -> Figure:
    return (_slide, _flip_flops, _high_heel, _strappy)[rng.integers(4)](rng)


def _slide(rng: Generator) -> Figure:
    low, thick = 0.4, rng.uniform(0.06, 0.18)
    figure = Figure([_sole(rng, low, thick)])
    a, b, high = rng.uniform(0.25, 0.45), rng.uniform(0.75, 0.95), rng.uniform(0.15, 0.34)
    strap = arc((a + b) / 2, low, (b - a) / 2, high, np.pi, 2 * np.pi)
    if rng.random() < 0.4:
        strap[:, 0] += (low - strap[:, 1]) * rng.uniform(-0.5, 0.3)
    figure.shapes.append(strap)
    maybe_add(rng, figure.patches, 0.4, strap)
    maybe_add(rng, figure.lines, 0.3, np.array([[a, low], [b, low]]))
    maybe_add(rng, figure.patches, 0.2, _sole(rng, low + thick / 2, thick / 2))
    return figure


def _flip_flops(rng: Generator) -> Figure:
    figure = Figure()
    tilt = rng.uniform(-0.3, 0.3)
    for x in (-0.25, 0.25) if rng.random() < 0.7 else (0,):
        right = [[0.1, 0], [0.19, 0.15], [0.16, 0.5], [0.15, 0.85], [0.08, 1]]
        strap = [[-0.16, 0.55], [-0.02, 0.2], [0.02, 0.2], [0.16, 0.55], [0, 0.3]]
        place = np.array([x, rng.uniform(-0.15, 0.15) * (x > 0)])
        figure.shapes.append(rotated(rounded(mirrored(right), 2), np.sign(x) * tilt) + place)
        where = figure.patches if rng.random() < 0.6 else figure.lines
        where.append(rotated(np.array(strap), np.sign(x) * tilt) + place)
    return figure


def _high_heel(rng: Generator) -> Figure:
    high = rng.uniform(0.35, 0.7)
    bed = np.array([[0.02, 0.95 - high], [0.25, 1 - high * 0.8], [0.6, 0.93], [0.78, 0.96], [1, 0.95]])
    bed = rounded(bed, 2, closed=False)
    figure = Figure([band(bed, rng.uniform(0.05, 0.1))])
    wide = rng.choice([0.04, 0.06, 0.12])
    if rng.random() < 0.25:  # wedge
        figure.shapes.append(np.vstack([bed, [[1, 1.02], [0.03, 1.02]]]))
    else:
        figure.shapes.append(np.array([[0, 0.95 - high], [0.06 + wide, 1 - high], [0.04 + wide, 1.02], [0.04, 1.02]]))
    strap = rng.uniform(0.03, 0.08)
    for a, b, up in ((0.68, 0.95, 0.16), (0.55, 0.8, 0.22), (0.3, 0.55, 0.3)):
        if rng.random() < 0.65 or a > 0.6:
            foot = [np.interp(x, bed[:, 0], bed[:, 1]) for x in (a, b)]
            middle = [(a + b) / 2, min(foot) - up * rng.uniform(0.7, 1.1)]
            figure.shapes.append(band(rounded(np.array([[a, foot[0]], middle, [b, foot[1]]]), 2, closed=False), strap))
    if rng.random() < 0.7:  # about the ankle
        ring = arc(0.13, 0.82 - high - 0.1, 0.15, 0.06, 0, 2 * np.pi)
        figure.shapes += [band(ring, strap * 0.7), band(np.array([[0.02, 0.96 - high], [0, 0.7 - high]]), strap)]
    return figure


def _strappy(rng: Generator) -> Figure:
    low, thick, strap = 0.5, rng.uniform(0.05, 0.14), rng.uniform(0.05, 0.11)
    figure = Figure([_sole(rng, low, thick)])
    for a, b, high in ((0.6, 0.95, 0.2), (0.45, 0.75, 0.28), (0.25, 0.6, 0.36)):
        if rng.random() < 0.65 or a == 0.6:
            high = high * rng.uniform(0.8, 1.2)
            path = np.array([[a, low], [(a + b) / 2 - 0.1, low - high], [b - 0.05, low]])
            figure.shapes.append(band(rounded(path, 2, closed=False), strap))
    if rng.random() < 0.75:
        back = np.array([[0.03, low], [0.02, low - 0.3], [0.2, low - 0.4], [0.42, low - 0.33], [0.45, low - 0.15]])
        figure.shapes.append(band(rounded(back, 1, closed=False), strap))
    maybe_add(rng, figure.patches, 0.4, figure.shapes[0])
    maybe_add(rng, figure.patches, 0.3, box(0.3, low - 0.38, 0.38, low - 0.3))
    return figure


def _sole(rng: Generator, low: float, thick: float) -> Points:
    """A slab of length 1 whose upper edge is at `low`, its toe a little up."""
    lift, heel = rng.uniform(0, 0.06), rng.uniform(0, 0.05)
    top = [[-0.01, low], [0.5, low + rng.uniform(-0.01, 0.02)], [0.85, low], [1.01, low - lift]]
    bottom = [[0.98, low + thick - lift], [0.8, low + thick], [0.05, low + thick], [-0.02 - heel, low + thick - 0.02]]
    slab = np.array([*top, *bottom])
    return rounded(slab, 1, share=0.2)
