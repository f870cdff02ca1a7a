"""GoogLeNet as in *Dive into Deep Learning*, section 8.4, for 1×96×96 pictures and any number of classes (book: 10).

The architecture is that of Szegedy et al., "Going deeper with convolutions" (CVPR 2015), without the
auxiliary classifiers. `GoogLeNet()` is the book's plain net; `GoogLeNet(batch_norm=True)` normalises
after each convolution (Ioffe and Szegedy 2015) and is the one that trains well; `fold_batch_norm()`
turns the second into the first, exactly, so serving pays nothing for it. `InferenceGraph` is what
every engine runs: pixels in; logits, features and class maps out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.hooks import RemovableHandle


class GoogLeNet(nn.Module):
    """Five stages and a linear head: normalised float [n,1,h,w] → logits [n,classes].

    h and w are 96 when serving; global pooling lets it train at any size from 32 up.
    """

    def __init__(self, classes: int = 10, *, batch_norm: bool = False) -> None:
        super().__init__()
        self.classes = classes
        bn = batch_norm
        # (1, 96, 96)
        self.b1 = nn.Sequential(
            Convolution(1, 64, 7, stride=2, batch_norm=bn),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        # (64, 24, 24)
        self.b2 = nn.Sequential(
            Convolution(64, 64, 1, batch_norm=bn),
            Convolution(64, 192, 3, batch_norm=bn),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        # (192, 12, 12)
        self.b3 = nn.Sequential(
            Inception(192, 64, (96, 128), (16, 32), 32, batch_norm=bn),
            Inception(256, 128, (128, 192), (32, 96), 64, batch_norm=bn),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        # (480, 6, 6)
        self.b4 = nn.Sequential(
            Inception(480, 192, (96, 208), (16, 48), 64, batch_norm=bn),
            Inception(512, 160, (112, 224), (24, 64), 64, batch_norm=bn),
            Inception(512, 128, (128, 256), (24, 64), 64, batch_norm=bn),
            Inception(512, 112, (144, 288), (32, 64), 64, batch_norm=bn),
            Inception(528, 256, (160, 320), (32, 128), 128, batch_norm=bn),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        # (832, 3, 3)
        self.b5 = nn.Sequential(
            Inception(832, 256, (160, 320), (32, 128), 128, batch_norm=bn),
            Inception(832, 384, (192, 384), (48, 128), 128, batch_norm=bn),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        # (1024,)
        self.head = nn.Linear(1024, classes)

    @classmethod
    def from_weights(cls, weights: Mapping[str, NDArray[Any]], classes: int) -> "GoogLeNet":
        """The plain net with a checkpoint's weights, in single precision on the CPU. Raises RuntimeError."""
        network = cls(classes)
        network.load_state_dict({name: torch.from_numpy(array).float() for name, array in weights.items()})
        return network.eval()

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.children():
            x = stage(x)
        return x

    def feature_maps(self, x: Tensor, start: int = 0) -> Tensor:
        """Normalised float [n,1,h,w] → the last feature maps before pooling, [n,1024,h/32,w/32].

        With `start`, x is the output of the first `start` layers.
        """
        for layer in (*self.b1, self.b2, self.b3, self.b4, *self.b5[:2])[start:]:
            x = layer(x)
        return x

    def fold_batch_norm(self) -> "GoogLeNet":
        """The plain net with the same outputs as this one in evaluation mode.

        The scale and shift of each batch normalisation become part of the convolution before it.

        Raises ValueError if this net has no batch normalisation.
        """
        plain = GoogLeNet(self.classes).to(next(self.parameters()).device)
        for source, target in zip(_convolutions(self), _convolutions(plain), strict=True):
            target.conv.load_state_dict(source.fold())
        plain.head.load_state_dict(self.head.state_dict())
        return plain.eval()

    @torch.no_grad()
    def unfold_batch_norm(self, x: Tensor) -> "GoogLeNet":
        """A net with batch normalisation and the same outputs on `x`, so that training can go on from a folded net.

        Each normalisation gets the statistics of its convolution's outputs on x, normalised float [n,1,h,w], and the
        scale and shift that undo them. Filters are scaled to length 1; normalisation makes their length arbitrary.
        """
        net = GoogLeNet(self.classes, batch_norm=True).to(x.device)
        pairs = zip(_convolutions(self), _convolutions(net), strict=True)
        hooks = [target.unfold_from(source.conv) for source, target in pairs]
        net.head.load_state_dict(self.head.state_dict())
        net.eval()(x)
        for hook in hooks:
            hook.remove()
        return net.train()

    @torch.no_grad()
    def layer_summary(self, shape: tuple[int, int, int, int] = (1, 1, 96, 96)) -> list[tuple[str, tuple[int, ...]]]:
        """Name and output shape of the five stages and the head for an input of `shape`."""
        parameter = next(self.parameters())
        x = torch.zeros(shape, device=parameter.device, dtype=parameter.dtype)
        training, summary = self.training, []
        self.eval()  # one picture is too few for batch statistics
        for name, stage in self.named_children():
            x = stage(x)
            summary.append((name, tuple(x.shape)))
        self.train(training)
        return summary


class Inception(nn.Module):
    """Four parallel branches over the same input, concatenated along channels.

    `c1` to `c4` are the branches' output channels, named as in the book: 1×1; 1×1→3×3; 1×1→5×5; 3×3 max pool→1×1.
    [n,in,h,w] → [n, c1 + c2[1] + c3[1] + c4, h, w].
    """

    def __init__(
        self, in_channels: int, c1: int, c2: tuple[int, int], c3: tuple[int, int], c4: int, *, batch_norm: bool = False
    ) -> None:
        super().__init__()
        bn = batch_norm
        self.branch1 = Convolution(in_channels, c1, 1, batch_norm=bn)
        self.branch2 = nn.Sequential(
            Convolution(in_channels, c2[0], 1, batch_norm=bn),
            Convolution(c2[0], c2[1], 3, batch_norm=bn),
        )
        self.branch3 = nn.Sequential(
            Convolution(in_channels, c3[0], 1, batch_norm=bn),
            Convolution(c3[0], c3[1], 5, batch_norm=bn),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            Convolution(in_channels, c4, 1, batch_norm=bn),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class Convolution(nn.Module):
    """Convolution with same padding, optional batch normalisation, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, batch_norm: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=not batch_norm)
        self.norm = nn.BatchNorm2d(out_channels) if batch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return nn.functional.relu(x, inplace=True)

    def fold(self) -> dict[str, Tensor]:
        """Weight and bias of a convolution with the same outputs, without normalisation, in evaluation mode.

        Raises ValueError if there is no normalisation.
        """
        norm = self.norm
        if norm is None or norm.running_mean is None or norm.running_var is None:
            raise ValueError("this network has no batch normalisation to fold")
        weight, bias = fuse_conv_bn_weights(
            self.conv.weight, self.conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        return {"weight": weight.detach(), "bias": bias.detach()}

    def unfold_from(self, plain: nn.Conv2d) -> RemovableHandle:
        """Copies a plain convolution. A hook then adopts the next batch's statistics; the caller removes it after that.

        Raises ValueError if there is no normalisation, or if the plain convolution has no bias.
        """
        norm = self.norm
        if norm is None or plain.bias is None:
            raise ValueError("only a normalised convolution can be unfolded from a plain one")
        lengths = plain.weight.flatten(1).norm(dim=1).clamp(min=1e-12)
        self.conv.weight.copy_(plain.weight / lengths[:, None, None, None])
        norm.weight.copy_(lengths)
        norm.bias.copy_(plain.bias)
        return norm.register_forward_pre_hook(_adopt_statistics)


class InferenceGraph(nn.Module):
    """The computation of every engine: uint8 pixels [n,96,96] → (logits, features, maps), all float32.

    logits [n,classes], before temperature; features [n,1024], pooled; maps [n,classes,3,3], the class activation maps
    of Zhou et al. (CVPR 2016): the head applied at each of the nine places before pooling. Their mean over the places
    plus the head's bias equals the logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: GoogLeNet, mean: float, std: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = (pixels.unsqueeze(1).to(self.mean.dtype) / 255 - self.mean) / self.std
        return self.outputs(self.network.feature_maps(x.to(self.network.head.weight.dtype)))

    def outputs(self, feature_maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[n,1024,3,3] → (logits, features, maps)."""
        weight, bias = self.network.head.weight, self.network.head.bias
        maps = nn.functional.conv2d(feature_maps, weight[:, :, None, None])
        logits = maps.mean(dim=(2, 3)) + bias
        features = feature_maps.mean(dim=(2, 3))
        return logits.float(), features.float(), maps.float()


class RawPixelGraph(InferenceGraph):
    """An InferenceGraph whose first convolution reads the raw pixels, so that int8 loses nothing of them.

    The convolution's weights include the normalisation. The border is padded with the gray level nearest to the mean,
    which normalisation turns into 0. Each 2×2 square of pixels becomes four channels of one place, which replaces the
    stride: a convolution over a single channel would leave most of a processor's vector lanes unused.
    """

    def __init__(self, network: GoogLeNet, mean: float, std: float) -> None:
        super().__init__(network, mean, std)
        first = next(_convolutions(network)).conv
        weight, bias = first.weight.detach(), first.bias.detach() if first.bias is not None else 0
        even_sized = nn.functional.pad(weight, (0, 1, 0, 1))
        self.weight = nn.Parameter(nn.functional.pixel_unshuffle(even_sized, 2) / (255 * std))
        self.bias = nn.Parameter(bias - mean / std * weight.sum(dim=(1, 2, 3)))
        self.padding_level, self.padding = round(255 * mean), 4 * [first.kernel_size[0] // 2]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = nn.functional.pad(pixels.unsqueeze(1), self.padding, value=self.padding_level)
        half = x.shape[-1] // 2
        x = x.view(-1, half, 2, half, 2).permute(0, 2, 4, 1, 3).reshape(-1, 4, half, half).to(self.weight.dtype)
        x = nn.functional.relu(nn.functional.conv2d(x, self.weight, self.bias))
        return self.outputs(self.network.feature_maps(x, start=1))


def _adopt_statistics(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Sets the running statistics to the batch's, and the scale and shift so that they undo the normalisation."""
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), unbiased=False)
    norm.bias.add_(norm.weight * mean)
    norm.weight.mul_((variance + norm.eps).sqrt())
    norm.running_mean, norm.running_var = mean, variance


def _convolutions(network: nn.Module) -> Iterator[Convolution]:
    return (module for module in network.modules() if isinstance(module, Convolution))
