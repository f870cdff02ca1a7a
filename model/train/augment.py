"""Data augmentation: random changes to batches of training pictures, on the CPU or the GPU.

Every function takes and returns float [n,1,h,w] in 0–1. Random numbers come from the given generator, so a training
run repeats exactly. Garments are light on black.
"""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from model.train.recipes import Recipe

VISIBLE = 0.06
"""Pixels brighter than this belong to the garment."""


def augment(x: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Applies the recipe's augmentations in a fixed order."""
    return distort(move(x, recipe, generator), recipe, generator)


def move(x: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """The augmentations that keep all of the garment: mirroring and shifting."""
    if recipe.flip:
        x = flip(x, generator)
    if recipe.shift:
        x = shift(x, recipe.shift, generator)
    return x


def distort(x: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """The augmentations that take something of the garment away."""
    if recipe.remake:
        x = simulate_camera(x, recipe.remake, generator)
    if recipe.draw:
        x = simulate_drawing(x, recipe.draw, generator)
    if recipe.erase:
        x = erase(x, recipe.erase, recipe.erase_area, generator)
    return x


def flip(x: Tensor, generator: Generator) -> Tensor:
    """Mirrors each picture left to right with probability 0.5."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < 0.5
    return torch.where(mirrored, x.flip(3), x)


def shift(x: Tensor, fraction: float, generator: Generator) -> Tensor:
    """Moves each picture by up to `fraction` of its side, in whole pixels, and fills the gap with black."""
    n, _, h, w = x.shape
    reach = round(fraction * h)
    dy, dx = torch.randint(0, 2 * reach + 1, (2, n, 1), generator=generator, device=x.device)
    padded = functional.pad(x, [reach] * 4)
    rows = torch.arange(h, device=x.device) + dy
    columns = torch.arange(w, device=x.device) + dx
    pictures = torch.arange(n, device=x.device)[:, None, None]
    return padded[pictures, 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


def erase(x: Tensor, probability: float, largest: float, generator: Generator) -> Tensor:
    """Random erasing (Zhong et al. 2017): a rectangle of 2 % to `largest` of the area becomes noise."""
    _, _, h, w = x.shape
    uniform = _uniform_for(x, generator)
    area, log_aspect = uniform(0.02, largest), uniform(-1.2, 1.2)  # aspect ratio 0.3 to 3.3
    height = (area * log_aspect.exp()).sqrt().clamp(max=1) * h
    width = (area / log_aspect.exp()).sqrt().clamp(max=1) * w
    top, left = uniform(0, 1) * (h - height), uniform(0, 1) * (w - width)
    rows = torch.arange(h, device=x.device)[:, None] + 0.5
    columns = torch.arange(w, device=x.device) + 0.5
    inside = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    chosen = uniform(0, 1) < probability
    noise = torch.rand(x.shape, generator=generator, device=x.device)
    return torch.where(inside & chosen, noise, x)


def simulate_camera(x: Tensor, probability: float, generator: Generator) -> Tensor:
    """Changes a fraction of the pictures as another camera and another crop would.

    They are scaled by 0.75 to 1.1, stretched by up to 10 %, turned by up to 6°, blurred or sharpened, given another
    contrast and gamma, and some noise.
    """
    n, _, h, w = x.shape
    uniform = _uniform_for(x, generator)
    zoom, stretch, angle = (uniform(*limits).view(n) for limits in ((0.75, 1.1), (-0.1, 0.1), (-0.1, 0.1)))
    across, down = (1 + stretch) / zoom, (1 - stretch) / zoom
    rows = torch.stack([angle.cos() * across, -angle.sin() * down, 0 * zoom, angle.sin() * across, angle.cos() * down])
    matrix = torch.cat([rows, 0 * zoom[None]]).T.reshape(n, 2, 3)
    grid = functional.affine_grid(matrix, [n, 1, h, w], align_corners=False)
    y = functional.grid_sample(x, grid, align_corners=False)
    y = y + uniform(-0.9, 0.9) * (y - functional.avg_pool2d(functional.pad(y, [1] * 4, "replicate"), 3, stride=1))
    y = y.clamp(0, 1) ** uniform(-0.5, 0.5).exp() * uniform(0.6, 1.2)
    y = y + uniform(0, 0.08) * torch.randn(y.shape, generator=generator, device=x.device)
    return torch.where(uniform(0, 1) < probability, y.clamp(0, 1), x)


def simulate_drawing(x: Tensor, probability: float, generator: Generator) -> Tensor:
    """Turns a fraction of the pictures into icons, as preprocessing delivers them: filled and trimmed.

    An icon is a flat shape, or a shape with a bold outline and seams. It is stretched, and turned by up to 45° if it
    is wide, because icons often show shoes at an angle.
    """
    uniform = _uniform_for(x, generator)
    (left, right), (top, bottom) = _extents(x > VISIBLE)
    angle = uniform(-0.8, 0.8) * torch.where(bottom - top < 0.8 * (right - left), 1.0, 0.1)
    y = _turn_and_trim(x, angle, uniform(-0.3, 0.3).exp())
    shape = 1 - _dilate(1 - _dilate((y > VISIBLE).float()))
    without_1, without_2 = _erode(shape), _erode(_erode(shape))  # without an outline of 1 pixel, of 2 pixels
    without_3 = _erode(without_2)
    inside = torch.where(uniform(0, 1) < 0.3, without_1, torch.where(uniform(0, 1) < 0.5, without_2, without_3))
    seams = without_1 * ((y - _blur(y)).abs() > uniform(0.08, 0.3))
    seams = torch.where(uniform(0, 1) < 0.5, seams, shape * _dilate(seams))
    outline_gray = uniform(0.4, 1)
    filling_gray = torch.where(uniform(0, 1) < 0.6, outline_gray * uniform(0.8, 1), uniform(0.1, 0.8))
    outlined = outline_gray * (shape - inside) + filling_gray * inside
    outlined = torch.where((seams > 0) & (uniform(0, 1) < 0.6), uniform(0, 1), outlined)
    icon = torch.where(uniform(0, 1) < 0.4, outline_gray * shape, outlined)
    icon = icon + uniform(0, 0.6) * (_blur(icon) - icon)
    return torch.where(uniform(0, 1) < probability, icon, x)


def _uniform_for(x: Tensor, generator: Generator) -> Callable[[float, float], Tensor]:
    """A function that draws one uniform number between two limits for each picture of `x`: float [n,1,1,1]."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device)

    return uniform


def _dilate(mask: Tensor) -> Tensor:
    return functional.max_pool2d(mask, 3, stride=1, padding=1)


def _erode(mask: Tensor) -> Tensor:
    return 1 - functional.max_pool2d(functional.pad(1 - mask, [1] * 4, value=1.0), 3, stride=1)  # outside is empty


def _blur(x: Tensor) -> Tensor:
    return functional.avg_pool2d(functional.pad(x, [1] * 4), 3, stride=1)


def _turn_and_trim(x: Tensor, angle: Tensor, stretch: Tensor) -> Tensor:
    """Turns by `angle` (radians), widens by the factor `stretch`, trims to what is visible; both float [n,1,1,1]."""
    cos, sin = angle.cos(), angle.sin()
    across, down = 2 / stretch, 2 * stretch  # twice the size, so that no corner is cut off

    def view(zoom: Tensor | float, x_centre: Tensor | float, y_centre: Tensor | float) -> Tensor:
        a, d, dx, dy = across * zoom, down * zoom, across * x_centre, down * y_centre
        matrix = [cos * a, -sin * d, cos * dx - sin * dy, sin * a, cos * d, sin * dx + cos * dy]
        grid = functional.affine_grid(torch.cat(matrix, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, align_corners=False)

    (left, right), (top, bottom) = _extents(view(1, 0, 0) > VISIBLE)
    zoom = (torch.maximum(right - left, bottom - top) / 2).clamp(min=0.1)
    return view(zoom, (left + right) / 2, (top + bottom) / 2)


def _extents(mask: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(left, right), (top, bottom) of the true part of bool [n,1,h,w]: float [n,1,1,1], −1 to 1; 0 if it is empty."""
    extents = []
    for side, other in ((3, 2), (2, 3)):
        line = mask.any(other, keepdim=True)
        size = mask.shape[side]
        shape = [size if axis == side else 1 for axis in range(4)]
        edges = torch.linspace(-1, 1, size + 1, device=mask.device)
        first = torch.where(line, edges[:-1].view(shape), 2.0).amin(side, keepdim=True)
        last = torch.where(line, edges[1:].view(shape), -2.0).amax(side, keepdim=True)
        extents.append((torch.where(first > last, 0.0, first), torch.where(first > last, 0.0, last)))
    return extents[0], extents[1]
