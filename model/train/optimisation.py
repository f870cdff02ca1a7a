"""Optimisation: the network and its initial weights, optimizer, mixed precision and the moving average of weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.googlenet import Convolution, GoogLeNet
from model.train.distillation.wide_resnet import WideResNet
from model.train.recipes import Recipe


def build_network(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's network with random weights."""
    if recipe.network == "wide_resnet":
        network: nn.Module = WideResNet(classes)
    else:
        network = GoogLeNet(classes, batch_norm=recipe.batch_norm)
    return network.apply(initialise)


def initialise(module: nn.Module) -> None:
    """Sets one module's weights: Xavier as in the book, or He et al. 2015 for a convolution with batch norm."""
    if isinstance(module, Convolution):
        if module.norm is None:
            nn.init.xavier_uniform_(module.conv.weight)
        else:
            nn.init.kaiming_normal_(module.conv.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    """SGD with Nesterov momentum; weight decay applies to weights, not to biases and batch norm's parameters."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    momentum = recipe.momentum
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=momentum, nesterov=momentum > 0)


def network_input(x: Tensor, side: int, mean: float, std: float) -> Tensor:
    """float [n,1,h,w] in 0–1 → normalised [n,1,side,side]."""
    if x.shape[-1] != side:
        x = functional.interpolate(x, size=(side, side), mode="bilinear", antialias=x.shape[-1] > side)
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def autocast(device: torch.device) -> torch.autocast:
    """bf16 where the device computes in it: a CPU that emulates bf16 takes ten times as long as in single precision."""
    computes_bf16 = device.type != "cpu" or (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=computes_bf16)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Moves the exponential moving average of weights and batch statistics towards the network's.

    `step` counts from 1 after a start, a restart or a change of resolution. The decay grows with it up to `decay`, so
    the average follows fast at first.
    """
    decay = min(decay, step / (step + 10))
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    averages, weights = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    torch._foreach_lerp_(averages, weights, 1 - decay)
