"""Random figures of clothes: tops with sleeves and details, dresses, trousers."""

import numpy as np
from numpy.random import Generator

from model.synthetic.sketches.figure import Figure, Points, box, disc, maybe_add, maybe_add_pair, mirrored, rounded


def t_shirt(rng: Generator) -> Figure:
    kind = rng.choice(["short", "short", "short", "tank", "straps"])
    figure = _top(rng, sleeve=kind, length=rng.uniform(0.65, 0.88), waist=(0.2, 0.3), hem=(0.22, 0.34))
    maybe_add(rng, figure.lines, 0.2, _stripe(rng))
    maybe_add(rng, figure.patches, 0.2, box(0.08, 0.35, 0.2, 0.47), disc(0, 0.4, 0.1), box(-0.12, 0.35, 0.12, 0.5))
    return figure


def pullover(rng: Generator) -> Figure:
    figure = _top(rng, sleeve="long", length=rng.uniform(0.68, 0.95), waist=(0.22, 0.34), hem=(0.2, 0.34))
    length = figure.shapes[0][:, 1].max()
    maybe_add(rng, figure.lines, 0.5, mirrored([[0.3, length - 0.07]], closed=False))
    if rng.random() < 0.35:
        _hood(rng, figure)
        maybe_add(
            rng, figure.lines, 0.6, np.array([[-0.05, 0.1], [-0.05, 0.25]]), np.array([[0.05, 0.1], [0.05, 0.25]])
        )
        pouch = mirrored([[0.09, length - 0.3], [0.16, length - 0.1]])
        maybe_add(rng, figure.patches if rng.random() < 0.5 else figure.lines, 0.6, pouch)
    else:
        maybe_add(rng, figure.lines, 0.25, _stripe(rng), np.array([[0, 0.1], [0, rng.uniform(0.2, 0.35)]]))
        maybe_add(rng, figure.patches, 0.3, mirrored([[0.1, 0.02], [0.09, -rng.uniform(0.03, 0.12)]]))
    return figure


def coat(rng: Generator) -> Figure:
    length = rng.uniform(0.8, 1.35)
    figure = _top(rng, sleeve="long", length=length, waist=(0.2, 0.32), hem=(0.22, 0.42))
    deep = rng.uniform(0.15, 0.5)
    figure.lines.append(np.array([[0, deep if rng.random() < 0.7 else 0.05], [rng.choice([0, 0, 0.06]), length]]))
    lapel = np.array([[0, deep], [0.1, 0], [rng.uniform(0.12, 0.2), rng.uniform(0.08, 0.25)]])
    if rng.random() < 0.25:
        _hood(rng, figure)
    else:
        maybe_add_pair(rng, figure.patches if rng.random() < 0.6 else figure.lines, 0.8, lapel)
    _buttons(rng, figure, 0.7, deep, length)
    low = rng.uniform(0.5, 0.7) * length
    maybe_add_pair(rng, figure.patches, 0.25, box(0.07, low, 0.19, low + rng.choice([0.03, 0.12])))
    maybe_add_pair(rng, figure.lines, 0.4, np.array([[0.08, low], [0.18, low + rng.choice([-0.06, 0, 0.1])]]))
    belt = 0.5 * length
    maybe_add(rng, figure.patches if rng.random() < 0.6 else figure.lines, 0.25, box(-0.26, belt, 0.26, belt + 0.07))
    if length < 1 and rng.random() < 0.2:  # quilted
        figure.lines += [np.array([[-0.27, y], [0.27, y]]) for y in np.arange(0.2, length, 0.17)]
    return figure


def shirt(rng: Generator) -> Figure:
    length = rng.uniform(0.72, 1.0)
    sleeve = "long" if rng.random() < 0.6 else "short"
    figure = _top(rng, sleeve=sleeve, length=length, waist=(0.2, 0.3), hem=(0.2, 0.33))
    collar = np.array([[0, 0.1], [0.1, -0.03], [rng.uniform(0.1, 0.17), 0.08], [0.07, rng.uniform(0.14, 0.2)]])
    maybe_add_pair(rng, figure.patches if rng.random() < 0.6 else figure.lines, 1, collar)
    maybe_add(rng, figure.lines, 0.9, np.array([[0, 0.12], [0, length]]))
    _buttons(rng, figure, 0.8, 0.15, length)
    maybe_add(rng, figure.patches if rng.random() < 0.5 else figure.lines, 0.35, box(0.07, 0.28, 0.18, 0.42))
    return figure


def dress(rng: Generator) -> Figure:
    kind = rng.choice(["tank", "tank", "straps", "straps", "short", "long", "bare"])
    at, waist, hem = rng.uniform(0.34, 0.5), rng.uniform(0.09, 0.2), rng.uniform(0.18, 0.55)
    length = rng.uniform(0.9, 1.35)
    figure = _top(rng, sleeve=kind, length=at, waist=(waist, waist + 0.05), hem=(waist, waist))
    knee = waist + (hem - waist) * rng.choice([0.15, 0.5, 0.5, 0.7, 0.9])
    wave = [[0.5 * hem, length + rng.choice([0, 0, 0.05])]]
    skirt = mirrored([[waist, at - 0.01], [knee, (at + length) / 2], [hem, length], *wave])
    figure.shapes.append(rounded(skirt, 1) if rng.random() < 0.5 else skirt)
    maybe_add(rng, figure.lines, 0.4, np.array([[-waist, at], [waist, at]]))
    maybe_add(rng, figure.patches, 0.2, box(-waist, at - 0.03, waist, at + 0.05))
    for x in (-0.3, 0.3) if rng.random() < 0.35 else (0,) if rng.random() < 0.2 else ():
        figure.lines.append(np.array([[x * waist, at + 0.15], [x * hem, length]]))
    maybe_add(rng, figure.lines, 0.15, mirrored([[hem * 0.9, length - 0.1]], closed=False))
    return figure


def trouser(rng: Generator) -> Figure:
    waist = rng.uniform(0.15, 0.27)
    hip, crotch = waist * rng.uniform(1, 1.25), rng.uniform(0.27, 0.42)
    length = 1.0 if rng.random() < 0.9 else rng.uniform(0.6, 0.75)
    inner = rng.uniform(0.02, 0.2)
    outer = max(inner + rng.uniform(0.09, 0.28), hip * 0.8)
    knee = [(hip + outer) / 2 * rng.uniform(0.8, 1), 0.6 * length]
    inside = [inner * rng.uniform(0.3, 1), 0.62 * length] if rng.random() < 0.5 else [inner, length]
    right = [[waist, 0], [hip, 0.25], knee, [outer, length], [inner, length], inside, [0.01, crotch]]
    figure = Figure([mirrored(right)])
    waistband = rng.uniform(0.06, 0.1)
    maybe_add(rng, figure.patches if rng.random() < 0.3 else figure.lines, 0.6, box(-waist, 0, waist, waistband))
    maybe_add(rng, figure.lines, 0.6, np.array([[0, waistband], [0, crotch]]))
    pocket = np.array([[0.4 * waist, waistband], [0.6 * waist, waistband + 0.07], [hip, waistband + 0.12]])
    maybe_add_pair(rng, figure.lines, 0.5, pocket)
    maybe_add_pair(rng, figure.lines, 0.3, np.array([[inner, length - 0.08], [outer, length - 0.08]]))
    maybe_add_pair(rng, figure.lines, 0.15, np.array([[0.5 * hip, 0.3], [(inner + outer) / 2, length]]))
    maybe_add_pair(rng, figure.patches, 0.1, box(0.08, 0.55, 0.2, 0.67))
    return figure


def _top(rng: Generator, sleeve: str, length: float, waist: tuple[float, float], hem: tuple[float, float]) -> Figure:
    """Torso and sleeves, the neck at the origin; `sleeve` is short, long, tank, straps or bare."""
    shoulder, drop, neck = rng.uniform(0.22, 0.33), rng.uniform(0.02, 0.1), rng.uniform(0.07, 0.14)
    armpit = np.array([shoulder * rng.uniform(0.8, 1), rng.uniform(0.24, 0.36)])
    below = [[rng.uniform(*waist), 0.6 * length], [rng.uniform(*hem), length]]
    if armpit[1] > 0.55 * length:
        below = below[1:]
    deep = rng.uniform(0.02, 0.14)
    if sleeve == "tank":
        armpit[0] = max(below[0][0], 0.17)
        strap, deep = neck + rng.uniform(0.04, 0.1), rng.uniform(0.08, 0.25)
        right = [[neck, 0], [strap, 0], [strap + 0.01, 0.6 * armpit[1]], [*armpit], *below]
    elif sleeve in ("straps", "bare"):
        high, deep = rng.uniform(0.12, 0.25), rng.uniform(0.02, 0.08)
        bust = max(below[0][0], 0.13)
        right = [[0.6 * bust, high - 0.03], [bust, high + rng.uniform(0, 0.06)], *below]
        if sleeve == "straps":
            narrow = rng.uniform(0.02, 0.06)
            at = 0.7 * bust
            right = [[at, high], [at * 0.9, 0], [at * 0.9 + narrow, 0], [at + narrow, high], *right[1:]]
        neck, deep = 0.0, high + deep
    else:
        right = [[neck, 0], [shoulder, drop], [*armpit], *below]
    throat = [[0, deep]] if rng.random() < 0.35 else [[0.3 * neck, deep], [0.75 * neck, 0.6 * deep]]
    figure = Figure([mirrored([*throat, *right])])
    if sleeve in ("short", "long"):
        _add_sleeves(rng, figure, sleeve, length, np.array([shoulder, drop]), armpit)
    if neck and rng.random() < 0.3:
        figure.lines.append(mirrored([[0.3 * neck, deep + 0.05], [neck + 0.05, 0.02]], closed=False))
    if rng.random() < 0.3:
        figure.shapes = [rounded(shape, 1, share=0.15) for shape in figure.shapes]
    return figure


def _add_sleeves(rng: Generator, figure: Figure, sleeve: str, length: float, root: Points, armpit: Points) -> None:
    """Adds both sleeves, from the shoulder `root` to the armpit."""
    angle = rng.uniform(0.35, 1.2) if sleeve == "short" else rng.uniform(0.05, 0.6)
    far = rng.uniform(0.18, 0.36) if sleeve == "short" else rng.uniform(0.6, 0.9) * min(length, 0.95)
    along, across = np.array([np.sin(angle), np.cos(angle)]), np.array([-np.cos(angle), np.sin(angle)])
    outer = root + along * far
    width = rng.uniform(0.12, 0.22) if sleeve == "short" else rng.uniform(0.07, 0.17)
    inner = outer + across * width
    elbow = root + along * far / 2 - across * rng.uniform(-0.01, 0.05)
    arm = np.array([[root[0] - 0.06, root[1] - 0.02], root, elbow, outer, inner, armpit, armpit - [0.06, 0]])
    figure.shapes += [arm, arm * [-1, 1]]
    maybe_add_pair(rng, figure.lines, 0.3, np.array([root, armpit]))
    maybe_add_pair(rng, figure.lines, 0.3, np.array([outer, inner]) - along * rng.uniform(0.04, 0.08))


def _hood(rng: Generator, figure: Figure) -> None:
    wide, high = rng.uniform(0.14, 0.22), rng.uniform(0.12, 0.25)
    hood = rounded(mirrored([[0.6 * wide, -high], [wide, -0.3 * high], [wide, 0.05], [0.05, 0.15]]), 2)
    figure.shapes.append(hood)
    maybe_add(rng, figure.patches, 0.5, hood * [0.6, 0.6])
    maybe_add(rng, figure.lines, 0.5, hood)


def _buttons(rng: Generator, figure: Figure, chance: float, top: float, bottom: float) -> None:
    if rng.random() < chance:
        x, radius = rng.choice([0, 0.04, 0.08]), rng.uniform(0.012, 0.03)
        sides = (x, -x) if x > 0.05 else (x,)
        heights = np.linspace(top + 0.08, bottom - 0.15, int(rng.integers(2, 6)))
        figure.patches += [disc(side, y, radius) for y in heights for side in sides]


def _stripe(rng: Generator) -> Points:
    y = rng.uniform(0.35, 0.6)
    return np.array([[-0.22, y], [0.22, y]])
