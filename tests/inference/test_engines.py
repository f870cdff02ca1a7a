"""The CUDA engine as far as it goes without a GPU: merged branches, and batches of any size through fixed ones."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import torch
from conftest import failed_start
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from app.inference.engines.base import Outputs
from app.inference.engines.batch_buckets import FixedBatch
from app.inference.engines.choose import golden_error
from app.inference.engines.cuda import CudaEngine, build_buckets
from app.inference.engines.pytorch import TorchEngine, load_network
from model.checkpoint import Checkpoint
from model.fused_googlenet import fuse_branches
from model.googlenet import GoogLeNet
from model.preprocess import native

LARGEST = 16

built: list[tuple[int, int]] = []


class Recorded(FixedBatch):
    """A batch that notes its size and lane."""

    def __init__(self, graph: nn.Module, size: int, lane: int) -> None:
        super().__init__(graph, size, lane)
        built.append((size, lane))


class SmallMemory(Recorded):
    """What a GPU does that has room for four pictures."""

    def __init__(self, graph: nn.Module, size: int, lane: int) -> None:
        if size > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        super().__init__(graph, size, lane)


class NoMemory(FixedBatch):
    def __init__(self, graph: nn.Module, size: int, lane: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.fixture(autouse=True)
def nothing_built() -> None:
    built.clear()


@pytest.fixture(scope="module")
def many(pictures: list[tuple[str, bytes]]) -> NDArray[np.uint8]:
    """200 pictures: the hundred, and they again mirrored."""
    pixels = np.stack([native(Image.open(BytesIO(content))) for _, content in pictures])
    return np.concatenate([pixels, pixels[:, :, ::-1]])


@pytest.fixture(scope="module")
def expected(checkpoint: Checkpoint, many: NDArray[np.uint8]) -> Outputs:
    return TorchEngine(checkpoint, "cpu")(many)


@pytest.fixture
def same(expected: Outputs) -> Callable[[Outputs, int], None]:
    """same(outputs, n): they are those of the first n pictures."""

    def check(outputs: Outputs, count: int) -> None:
        for name, found in outputs._asdict().items():
            wanted = getattr(expected, name)[:count]
            assert (found.dtype, found.shape) == (np.float32, wanted.shape)
            np.testing.assert_allclose(found, wanted, atol=1e-4, err_msg=name)

    return check


def test_merged_branches_give_the_same(checkpoint: Checkpoint) -> None:
    network = load_network(checkpoint)
    merged = fuse_branches(network)
    x = torch.randn(3, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(merged(x), network(x), atol=1e-5, rtol=0)
    count = [sum(isinstance(m, nn.Conv2d) for m in net.modules()) for net in (network, merged)]
    assert count == [57, 57 - 2 * 9]
    assert sum(p.numel() for p in merged.parameters()) == sum(p.numel() for p in network.parameters())


def test_only_a_folded_net_can_be_merged() -> None:
    with pytest.raises(ValueError, match="fold"):
        fuse_branches(GoogLeNet(batch_norm=True))


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (1, {(1, 0)}),
        (3, {(4, 0)}),
        (16, {(16, 0)}),
        (17, {(16, 0), (1, 1)}),
        (200, {(16, 0), (16, 1), (8, 0)}),
    ],
)
def test_any_batch_goes_through_fixed_sizes(
    checkpoint: Checkpoint,
    many: NDArray[np.uint8],
    same: Callable[[Outputs, int], None],
    count: int,
    sizes: set[tuple[int, int]],
) -> None:
    buckets = build_buckets(checkpoint, "cpu", torch.float32, Recorded, LARGEST)
    same(buckets(many[:count]), count)
    assert set(built) == sizes
    assert len(built) == len(sizes), "each is built once"
    same(buckets(many[:2]), 2)  # padding of a batch that has held more before


def test_every_size_is_there_before_the_first_picture(checkpoint: Checkpoint, many: NDArray[np.uint8]) -> None:
    buckets = build_buckets(checkpoint, "cpu", torch.float32, Recorded, LARGEST)
    buckets.prepare()
    assert built == [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (16, 1)]


def test_out_of_memory_halves_the_batch(
    checkpoint: Checkpoint, many: NDArray[np.uint8], same: Callable[[Outputs, int], None]
) -> None:
    buckets = build_buckets(checkpoint, "cpu", torch.float32, SmallMemory, LARGEST)
    same(buckets(many[:23]), 23)
    assert (buckets.largest, buckets.halvings) == (4, 2)
    same(buckets(many), 200)
    assert buckets.halvings == 2


def test_no_memory_at_all_is_said(checkpoint: Checkpoint, many: NDArray[np.uint8]) -> None:
    buckets = build_buckets(checkpoint, "cpu", torch.float32, NoMemory, LARGEST)
    with pytest.raises(torch.OutOfMemoryError):
        buckets(many[:5])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_labels(
    checkpoint: Checkpoint, many: NDArray[np.uint8], expected: Outputs, dtype: torch.dtype
) -> None:
    logits = build_buckets(checkpoint, "cpu", dtype, FixedBatch, LARGEST)(many[:32]).logits
    assert (logits.argmax(1) == expected.logits[:32].argmax(1)).sum() >= 31


@pytest.mark.cuda
def test_the_cuda_engine_serves_or_says_why_not(checkpoint: Checkpoint, many: NDArray[np.uint8]) -> None:
    if torch.cuda.is_available():
        engine = CudaEngine(checkpoint, "cuda")
        assert golden_error(engine, checkpoint) <= engine.tolerance
        logits = TorchEngine(checkpoint, "cpu")(many).logits
        assert (engine(many).logits.argmax(1) == logits.argmax(1)).sum() >= 196
    else:
        result = failed_start(GOOGLENET_ENGINE="cuda")
        assert result.returncode != 0
        assert "torch finds no usable GPU" in result.stderr
        assert "Traceback" not in result.stderr
