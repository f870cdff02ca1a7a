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
