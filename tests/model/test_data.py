"""The data is found where it should be, verified, and split the same way for everybody."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import data
from model.data import DataError, Dataset


def test_splits(fashion_mnist: Dataset) -> None:
    assert [len(split) for split in (fashion_mnist.train, fashion_mnist.validation, fashion_mnist.test)] == [
        55_000,
        5_000,
        10_000,
    ]
    assert fashion_mnist.train.pixels.shape == (55_000, 28, 28)
    assert fashion_mnist.train.pixels.dtype == torch.uint8
    assert fashion_mnist.classes[9] == "Ankle boot"
    assert fashion_mnist.test.labels.bincount().tolist() == [1000] * 10
    together = torch.cat([fashion_mnist.train.labels, fashion_mnist.validation.labels])
    assert together.bincount().tolist() == [6000] * 10
    rows = {bytes(row.numpy().tobytes()) for row in fashion_mnist.validation.pixels}
    assert not any(row.numpy().tobytes() in rows for row in fashion_mnist.train.pixels)


def test_the_split_is_the_same_every_time(fashion_mnist: Dataset) -> None:
    again = data.load(data.DEBIAN)
    assert torch.equal(again.validation.pixels, fashion_mnist.validation.pixels)


@pytest.mark.parametrize("place", [".", "FashionMNIST/raw"])
def test_plain_files_are_found_too(fashion_mnist: Dataset, tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for archive in data.DEBIAN.glob("*.gz"):
        (tmp_path / place / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
    assert torch.equal(data.load(tmp_path).test.pixels, fashion_mnist.test.pixels)


def test_a_folder_called_data_comes_first(
    fashion_mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data.DEBIAN, tmp_path / "data")
    (tmp_path / "data" / "train-labels-idx1-ubyte.gz").unlink()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="data has no train-labels-idx1-ubyte"):
        data.load()


def damage(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[500_000 % len(content)] ^= 1
    path.write_bytes(gzip.compress(bytes(content), 1))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("harm", "message"),
    [(damage, "is damaged"), (cut, "cannot be unpacked"), (Path.unlink, "has no t10k-images-idx3-ubyte")],
)
def test_damage_is_one_clear_error(
    fashion_mnist: Dataset, tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    for archive in data.DEBIAN.glob("*.gz"):
        shutil.copy(archive, tmp_path)
    harm(tmp_path / "t10k-images-idx3-ubyte.gz")
    with pytest.raises(DataError, match=message):
        data.load(tmp_path)


def draw(root: Path, classes: int, count: int) -> None:
    random = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(random.integers(0, 255, (30, 40, 3), np.uint8)).save(folder / f"{i}.png")


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    draw(tmp_path, classes=3, count=20)
    dataset = data.load(tmp_path)
    assert dataset.classes == ("class0", "class1", "class2")
    assert [len(dataset.train), len(dataset.validation), len(dataset.test)] == [48, 6, 6]
    assert dataset.train.pixels.shape == (48, 96, 96)


def test_a_folder_with_its_own_test_set(tmp_path: Path) -> None:
    draw(tmp_path / "train", classes=2, count=20)
    draw(tmp_path / "test", classes=2, count=5)
    dataset = data.load(tmp_path)
    assert [len(dataset.train), len(dataset.validation), len(dataset.test)] == [36, 4, 10]


def test_every_format_of_the_service_is_read(tmp_path: Path) -> None:
    """torchvision alone skips GIF, AVIF and HEIC without a word. Files that are no pictures are skipped."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    draw(tmp_path, classes=2, count=10)
    picture = Image.new("RGB", (30, 40), "red")
    for suffix in (".jpg", ".webp", ".gif", ".bmp", ".tiff", ".avif", ".heic", ".GIF"):
        picture.save(tmp_path / "class0" / f"picture{suffix}")
    (tmp_path / "class0" / "notes.txt").write_text("not a picture")
    dataset = data.load(tmp_path)
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 28
    (tmp_path / "class1" / "broken.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"broken\.gif cannot be read as a picture"):
        data.load(tmp_path)


@pytest.mark.parametrize("what", ["missing", "empty", "one class"])
def test_a_folder_that_cannot_be_trained_on(tmp_path: Path, what: str) -> None:
    if what == "one class":
        draw(tmp_path, classes=1, count=20)
    with pytest.raises(DataError, match=str(tmp_path)):
        data.load(tmp_path / "nowhere" if what == "missing" else tmp_path)
