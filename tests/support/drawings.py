"""Garments drawn with a few lines each, flat or outlined, as icons and clip-art are: one of every class."""

import io
from collections.abc import Iterator

from PIL import Image, ImageDraw

Points = list[tuple[float, float]]

SIDE = 600
"""Pixels drawn at; drawings are delivered at half of it, so that their edges are smooth."""


def _mirrored(half: Points) -> Points:
    """Left half, top to bottom, → the whole outline."""
    return half + [(1 - x, y) for x, y in reversed(half)]


OUTLINES: dict[str, list[Points]] = {
    "T-shirt/top": [
        _mirrored([(0.42, 0.13), (0.36, 0.1), (0.24, 0.15), (0.08, 0.34), (0.2, 0.44), (0.27, 0.37), (0.27, 0.9)]),
    ],
    "Trouser": [_mirrored([(0.36, 0.05), (0.34, 0.3), (0.33, 0.95), (0.46, 0.95), (0.49, 0.35)])],
    "Pullover": [
        _mirrored(
            [(0.43, 0.13), (0.36, 0.1), (0.25, 0.15), (0.17, 0.3), (0.1, 0.85), (0.21, 0.87), (0.28, 0.42), (0.28, 0.9)]
        ),
    ],
    "Dress": [
        _mirrored([(0.44, 0.16), (0.41, 0.04), (0.37, 0.04), (0.37, 0.2), (0.39, 0.42), (0.27, 0.95)]),
    ],
    "Coat": [
        _mirrored(
            [
                (0.44, 0.1),
                (0.36, 0.06),
                (0.25, 0.12),
                (0.18, 0.28),
                (0.12, 0.78),
                (0.22, 0.8),
                (0.28, 0.42),
                (0.26, 0.95),
            ]
        ),
        [(0.5, 0.18), (0.5, 0.95)],
        [(0.44, 0.1), (0.5, 0.3), (0.56, 0.1)],
    ],
    "Sandal": [
        [(0.05, 0.72), (0.95, 0.72), (0.95, 0.78), (0.05, 0.8)],
        [(0.2, 0.72), (0.3, 0.52), (0.36, 0.52), (0.3, 0.72)],
        [(0.68, 0.72), (0.72, 0.35), (0.92, 0.35), (0.93, 0.72), (0.88, 0.72), (0.87, 0.4), (0.77, 0.4), (0.75, 0.72)],
    ],
    "Shirt": [
        _mirrored(
            [
                (0.44, 0.12),
                (0.38, 0.07),
                (0.25, 0.15),
                (0.17, 0.3),
                (0.1, 0.82),
                (0.2, 0.84),
                (0.28, 0.42),
                (0.28, 0.92),
            ]
        ),
        [(0.5, 0.2), (0.5, 0.92)],
        [(0.38, 0.07), (0.42, 0.2), (0.5, 0.14), (0.58, 0.2), (0.62, 0.07)],
    ],
    "Sneaker": [
        [
            (0.04, 0.42),
            (0.12, 0.4),
            (0.2, 0.46),
            (0.32, 0.4),
            (0.45, 0.5),
            (0.62, 0.56),
            (0.85, 0.6),
            (0.95, 0.68),
            (0.95, 0.76),
            (0.04, 0.76),
        ],
        [(0.04, 0.69), (0.95, 0.69)],
    ],
    "Bag": [
        [(0.1, 0.4), (0.9, 0.4), (0.94, 0.9), (0.06, 0.9)],
        [(0.3, 0.4), (0.34, 0.15), (0.66, 0.15), (0.7, 0.4), (0.65, 0.4), (0.62, 0.2), (0.38, 0.2), (0.35, 0.4)],
    ],
    "Ankle boot": [
        [
            (0.12, 0.12),
            (0.52, 0.12),
            (0.52, 0.45),
            (0.6, 0.55),
            (0.82, 0.63),
            (0.9, 0.74),
            (0.9, 0.82),
            (0.32, 0.82),
            (0.3, 0.88),
            (0.12, 0.88),
        ],
    ],
}

STYLES: dict[str, tuple[str | None, str | None, int, str | None]] = {
    "flat": ("black", None, 0, "white"),
    "flat blue": ("#2a52be", None, 0, "white"),
    "flat blue, transparent": ("#2a52be", None, 0, None),
    "flat red, pale blue behind": ("#b22222", None, 0, "#dde8f5"),
    "clip-art": ("#e8b04a", "black", 8, "white"),
    "clip-art, transparent": ("#7fb7e8", "#203040", 6, None),
    "thin outline": (None, "black", 4, "white"),
    "outline": (None, "black", 10, "white"),
    "bold outline": (None, "#333333", 20, "white"),
    "outline, transparent": (None, "black", 10, None),
    "white on transparent": ("white", None, 0, None),
    "white on black": ("white", None, 0, "black"),
}
"""Fill, stroke, its width in pixels of 600, background; None is none, or transparent."""


def draw(name: str, style: str) -> Image.Image:
    """RGBA, 300×300, some room around the garment."""
    fill, stroke, width, background = STYLES[style]
    image = Image.new("RGBA", (SIDE, SIDE), background or (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    for outline in OUTLINES[name]:
        points = [((0.1 + 0.8 * x) * SIDE, (0.1 + 0.8 * y) * SIDE) for x, y in outline]
        if len(outline) > 3:
            if fill:
                pen.polygon(points, fill=fill)
            points.append(points[0])
        if stroke:
            pen.line(points, fill=stroke, width=width, joint="curve")
    return image.resize((SIDE // 2, SIDE // 2), Image.Resampling.LANCZOS)


def drawings() -> Iterator[tuple[str, str, bytes]]:
    """(class, style, PNG bytes) of all of them."""
    for style in STYLES:
        for name in OUTLINES:
            file = io.BytesIO()
            draw(name, style).save(file, "PNG")
            yield name, style, file.getvalue()
