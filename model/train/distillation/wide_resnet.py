"""Wide residual network (Zagoruyko and Komodakis, "Wide residual networks", BMVC 2016): a teacher for distillation.

It works at 28×28, the size of the data set's pictures. It is never served.
"""

from torch import Tensor, nn
from torch.nn import functional


class WideResNet(nn.Module):
    """WRN-`depth`-`width`: normalised float [n,1,h,w] → logits [n,classes]."""

    def __init__(self, classes: int = 10, depth: int = 16, width: int = 2) -> None:
        super().__init__()
        channels = 16
        blocks: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1, bias=False)]
        for group in range(3):
            out_channels = (16 << group) * width
            for i in range((depth - 4) // 6):
                blocks.append(ResidualBlock(channels, out_channels, stride=2 if group and not i else 1))
                channels = out_channels
        self.layers = nn.Sequential(
            *blocks,
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU, added to the input, if need be by a 1×1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        same_shape = in_channels == out_channels and stride == 1
        self.shortcut = None if same_shape else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = functional.relu(self.norm1(x), inplace=True)
        residual: Tensor = self.conv2(functional.relu(self.norm2(self.conv1(activated)), inplace=True))
        return residual + (self.shortcut(activated) if self.shortcut else x)
