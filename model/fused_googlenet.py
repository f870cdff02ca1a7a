"""GoogLeNet with the 1×1 convolutions that read the same input run as one: same answers, fewer and larger kernels.

The horizontal fusion of TASO (Jia et al., SOSP 2019), whose running example is the Inception block.
"""

import copy

import torch
from torch import Tensor, nn

from model.googlenet import Convolution, GoogLeNet, Inception


class MergedInception(nn.Module):
    """An Inception block of the plain net, with branch 1 and the reductions of branches 2 and 3 in one convolution."""

    def __init__(self, block: Inception) -> None:
        super().__init__()
        (reduction2, conv2), (reduction3, conv3) = block.branch2, block.branch3
        sources = [_plain(layer) for layer in (block.branch1, reduction2, reduction3)]
        self.channels = [source.out_channels for source in sources]
        merged = Convolution(sources[0].in_channels, sum(self.channels), 1)
        merged.conv.load_state_dict(
            {name: torch.cat([source.state_dict()[name] for source in sources]) for name in ("weight", "bias")}
        )
        self.merged = merged
        self.conv2, self.conv3, self.branch4 = conv2, conv3, block.branch4

    def forward(self, x: Tensor) -> Tensor:
        one, two, three = self.merged(x).split(self.channels, dim=1)
        return torch.cat([one, self.conv2(two), self.conv3(three), self.branch4(x)], dim=1)


def merge_branches(network: GoogLeNet) -> GoogLeNet:
    """A copy of the plain net that computes the same with a merged convolution a block.

    Raises ValueError if batch normalisation has not been folded away.
    """
    merged = copy.deepcopy(network)
    for stage in merged.children():
        for name, layer in stage.named_children():
            if isinstance(layer, Inception):
                setattr(stage, name, MergedInception(layer))
    return merged.eval()


def _plain(layer: nn.Module) -> nn.Conv2d:
    if not isinstance(layer, Convolution) or layer.norm is not None:
        raise ValueError("only the plain net can be merged: fold its batch normalisation first")
    return layer.conv
