"""GoogLeNet with fewer, larger convolutions: 1×1 convolutions that read the same input are fused. Same outputs.

This is the horizontal fusion of TASO (Jia et al., SOSP 2019), whose running example is the Inception block.
"""

import copy

import torch
from torch import Tensor, nn

from model.googlenet import Convolution, GoogLeNet, Inception


class FusedInception(nn.Module):
    """An Inception block of the plain net: branch 1 and the reductions of branches 2 and 3 are one convolution."""

    def __init__(self, block: Inception) -> None:
        super().__init__()
        (reduction2, conv2), (reduction3, conv3) = block.branch2, block.branch3
        sources = [_plain_convolution(layer) for layer in (block.branch1, reduction2, reduction3)]
        self.channels = [source.out_channels for source in sources]
        fused = Convolution(sources[0].in_channels, sum(self.channels), 1)
        fused.conv.load_state_dict(
            {name: torch.cat([source.state_dict()[name] for source in sources]) for name in ("weight", "bias")}
        )
        self.fused = fused
        self.conv2, self.conv3, self.branch4 = conv2, conv3, block.branch4

    def forward(self, x: Tensor) -> Tensor:
        one, two, three = self.fused(x).split(self.channels, dim=1)
        return torch.cat([one, self.conv2(two), self.conv3(three), self.branch4(x)], dim=1)


def fuse_branches(network: GoogLeNet) -> GoogLeNet:
    """A copy of the plain net in evaluation mode with its Inception blocks fused; the outputs are the same.

    Raises ValueError if batch normalisation has not been folded.
    """
    fused = copy.deepcopy(network)
    for stage in fused.children():
        for name, layer in stage.named_children():
            if isinstance(layer, Inception):
                setattr(stage, name, FusedInception(layer))
    return fused.eval()


def _plain_convolution(layer: nn.Module) -> nn.Conv2d:
    if not isinstance(layer, Convolution) or layer.norm is not None:
        raise ValueError("only the plain net can be fused: fold its batch normalisation first")
    return layer.conv
