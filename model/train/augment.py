"""Training pictures made more varied, whole batches at a time, on whatever device they are.

Every function takes and gives float [n,1,h,w] in 0–1 and draws from the generator it is handed, so a
run repeats exactly.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional


def flip(x: Tensor, generator: Generator) -> Tensor:
    """Mirrors half of the pictures left to right."""
    mirrored = torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < 0.5
    return torch.where(mirrored, x.flip(3), x)


def shift(x: Tensor, fraction: float, generator: Generator) -> Tensor:
    """Moves each picture by up to `fraction` of its side, in whole pixels; black moves in."""
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
    n, _, h, w = x.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator, device=x.device)

    area, log_aspect = uniform(0.02, largest), uniform(-1.2, 1.2)  # aspect 0.3 to 3.3
    height = (area * log_aspect.exp()).sqrt().clamp(max=1) * h
    width = (area / log_aspect.exp()).sqrt().clamp(max=1) * w
    top, left = uniform(0, 1) * (h - height), uniform(0, 1) * (w - width)
    rows = torch.arange(h, device=x.device)[:, None] + 0.5
    columns = torch.arange(w, device=x.device) + 0.5
    inside = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    chosen = uniform(0, 1) < probability
    noise = torch.rand(x.shape, generator=generator, device=x.device)
    return torch.where(inside & chosen, noise, x)


def remake(x: Tensor, probability: float, generator: Generator) -> Tensor:
    """Pictures as another camera and another crop would have given them, for a share of the pictures.

    Scaled by 0.75 to 1.1, a little stretched, turned by up to 6°, blurred or sharpened, of another
    contrast and gamma, with some noise.
    """
    n, _, h, w = x.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator, device=x.device)

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


def draw(x: Tensor, probability: float, generator: Generator) -> Tensor:
    """A share of the pictures as icons draw garments, when preprocessing has filled and trimmed them.

    A flat shape, or one with a bold outline and seams; stretched, and turned by up to 45° if it lies wide, as
    icons like to show shoes.
    """
    n = len(x)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator, device=x.device)

    def grown(mask: Tensor) -> Tensor:
        return functional.max_pool2d(mask, 3, stride=1, padding=1)

    def shrunk(mask: Tensor) -> Tensor:
        return 1 - functional.max_pool2d(functional.pad(1 - mask, [1] * 4, value=1.0), 3, stride=1)  # outside is empty

    def softened(y: Tensor) -> Tensor:
        return functional.avg_pool2d(functional.pad(y, [1] * 4), 3, stride=1)

    (left, right), (top, bottom) = _ends(x > 0.06)
    turn = uniform(-0.8, 0.8) * torch.where(bottom - top < 0.8 * (right - left), 1.0, 0.1)
    y = _fitted(x, turn, uniform(-0.3, 0.3).exp())
    shape = 1 - grown(1 - grown((y > 0.06).float()))
    bold, bolder = shrunk(shape), shrunk(shrunk(shape))
    inside = torch.where(uniform(0, 1) < 0.3, bold, torch.where(uniform(0, 1) < 0.5, bolder, shrunk(bolder)))
    seams = bold * ((y - softened(y)).abs() > uniform(0.08, 0.3))
    seams = torch.where(uniform(0, 1) < 0.5, seams, shape * grown(seams))
    ink = uniform(0.4, 1)
    filling = torch.where(uniform(0, 1) < 0.6, ink * uniform(0.8, 1), uniform(0.1, 0.8))
    outlined = ink * (shape - inside) + filling * inside
    outlined = torch.where((seams > 0) & (uniform(0, 1) < 0.6), uniform(0, 1), outlined)
    drawn = torch.where(uniform(0, 1) < 0.4, ink * shape, outlined)
    drawn = drawn + uniform(0, 0.6) * (softened(drawn) - drawn)
    return torch.where(uniform(0, 1) < probability, drawn, x)


def _fitted(x: Tensor, angle: Tensor, stretch: Tensor) -> Tensor:
    """Turned, made wider by `stretch`, and trimmed to what can be seen, as preprocessing does; float [n,1,1,1] each."""
    cos, sin = angle.cos(), angle.sin()
    across, down = 2 / stretch, 2 * stretch  # twice the room, for corners

    def seen_from(zoom: Tensor | float, right: Tensor | float, low: Tensor | float) -> Tensor:
        a, d, right, low = across * zoom, down * zoom, across * right, down * low
        matrix = [cos * a, -sin * d, cos * right - sin * low, sin * a, cos * d, sin * right + cos * low]
        grid = functional.affine_grid(torch.cat(matrix, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
        return functional.grid_sample(x, grid, align_corners=False)

    (left, right), (top, bottom) = _ends(seen_from(1, 0, 0) > 0.06)
    zoom = (torch.maximum(right - left, bottom - top) / 2).clamp(min=0.1)
    return seen_from(zoom, (left + right) / 2, (top + bottom) / 2)


def _ends(mask: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Where bool [n,1,h,w] begins and ends, across and down: float [n,1,1,1] each, −1 to 1; both 0 if it is empty."""
    ends = []
    for side, other in ((3, 2), (2, 3)):
        line = mask.any(other, keepdim=True)
        size = mask.shape[side]
        shape = [size if axis == side else 1 for axis in range(4)]
        edges = torch.linspace(-1, 1, size + 1, device=mask.device)
        first = torch.where(line, edges[:-1].view(shape), 2.0).amin(side, keepdim=True)
        last = torch.where(line, edges[1:].view(shape), -2.0).amax(side, keepdim=True)
        ends.append((torch.where(first > last, 0.0, first), torch.where(first > last, 0.0, last)))
    return ends[0], ends[1]
