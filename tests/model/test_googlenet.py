"""The network is the book's, and folding changes nothing it computes."""

import pytest
import torch
from torch import nn

from model.googlenet import GoogLeNet, Inception, InferenceGraph, RawPixelGraph

STAGES = [
    ("b1", (1, 64, 24, 24)),
    ("b2", (1, 192, 12, 12)),
    ("b3", (1, 480, 6, 6)),
    ("b4", (1, 832, 3, 3)),
    ("b5", (1, 1024)),
    ("head", (1, 10)),
]


def trained_a_little(steps: int = 5) -> GoogLeNet:
    """A normalised network whose running statistics, scales and shifts are all non-trivial."""
    torch.manual_seed(1)
    network = GoogLeNet(batch_norm=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(network(torch.randn(16, 1, 48, 48) + 0.5), torch.randint(0, 10, (16,)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_stage_shapes(batch_norm: bool) -> None:
    network = GoogLeNet(batch_norm=batch_norm)
    assert network.layer_summary((1, 1, 96, 96)) == STAGES
    assert network.training, "a summary leaves the network as it was"


def test_parameters() -> None:
    assert sum(p.numel() for p in GoogLeNet().parameters()) == 5_977_530
    assert sum(p.numel() for p in GoogLeNet(batch_norm=True).fold_batch_norm().parameters()) == 5_977_530


def test_inception_concatenates_four_branches() -> None:
    block = Inception(192, 64, (96, 128), (16, 32), 32)
    assert block(torch.randn(2, 192, 12, 12)).shape == (2, 64 + 128 + 32 + 32, 12, 12)


@pytest.mark.parametrize("steps", [0, 5], ids=["random weights", "trained a little"])
def test_folding_changes_nothing(steps: int) -> None:
    network = trained_a_little(steps)
    plain = network.fold_batch_norm()
    x = torch.randn(4, 1, 96, 96)
    with torch.no_grad():
        assert not any(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
        torch.testing.assert_close(plain(x), network(x), atol=1e-4, rtol=0)


def test_folding_leaves_the_original_as_it_was() -> None:
    network = GoogLeNet(batch_norm=True).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.fold_batch_norm()
    assert all(module.training for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_plain_network_has_nothing_to_fold() -> None:
    with pytest.raises(ValueError, match="no batch normalisation"):
        GoogLeNet().fold_batch_norm()


@pytest.mark.parametrize("batch_norm", [False, True])
def test_gradients_reach_every_parameter(batch_norm: bool) -> None:
    torch.manual_seed(0)
    network = GoogLeNet(batch_norm=batch_norm)
    nn.functional.cross_entropy(network(torch.randn(8, 1, 96, 96)), torch.arange(8)).backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_class_maps_average_to_the_logits() -> None:
    network = trained_a_little().fold_batch_norm()
    pixels = torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        logits, features, maps = InferenceGraph(network, 0.286, 0.353)(pixels)
        expected = network((pixels.unsqueeze(1) / 255 - 0.286) / 0.353)
    assert (logits.shape, features.shape, maps.shape) == ((3, 10), (3, 1024), (3, 10, 3, 3))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(maps.mean((2, 3)) + network.head.bias, logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(features @ network.head.weight.T + network.head.bias, logits, atol=1e-4, rtol=0)


def test_bytes_in_give_the_same() -> None:
    """But for the border: the level nearest to the mean stands for it, off by half a level of 255 at most."""
    network = trained_a_little().fold_batch_norm()
    pixels = torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        for mean, off in ((73 / 255, 1e-4), (73.4 / 255, 0.01)):
            plain, bytewise = (graph(network, mean, 0.353)(pixels) for graph in (InferenceGraph, RawPixelGraph))
            for expected, found in zip(plain, bytewise, strict=True):
                torch.testing.assert_close(found, expected, atol=off, rtol=0)


def test_a_folded_net_trains_on_from_where_it_was() -> None:
    torch.manual_seed(0)
    plain = GoogLeNet().eval()
    x = torch.rand(16, 1, 96, 96)
    normalised = plain.unfold_batch_norm(x)
    assert normalised.training
    with torch.no_grad():
        torch.testing.assert_close(normalised.eval()(x), plain(x), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(normalised.fold_batch_norm()(x), plain(x), rtol=1e-3, atol=1e-3)
