"""The data is found where it should be, verified, and split the same way for everybody."""

import gzip
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model import data
from model.data import DataError, Dataset, Split


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


def draw(root: Path, classes: int, count: int, seed: int = 0) -> None:
    """Noise on black, so that preprocessing keeps every picture different."""
    random = np.random.default_rng(seed)
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.pad(random.integers(0, 255, (26, 26), np.uint8), 1)
            Image.fromarray(pixels).convert("RGB").save(folder / f"{seed}-{i}.png")


def sizes(dataset: Dataset) -> list[int]:
    return [len(dataset.train), len(dataset.validation), len(dataset.test)]


def contents(split: Split) -> list[bytes]:
    return [picture.numpy().tobytes() for picture in split.pixels]


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    draw(tmp_path, classes=3, count=20)
    dataset = data.load(tmp_path)
    assert dataset.classes == ("class0", "class1", "class2")
    assert sizes(dataset) == [48, 6, 6]
    assert dataset.train.pixels.shape == (48, 96, 96)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    draw(tmp_path, classes=2, count=5)
    (tmp_path / "class0").rename(tmp_path / "train")
    assert data.load(tmp_path).classes == ("class1", "train")


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("train", "test"), [36, 4, 10]),
        (("train", "val"), [36, 10, 4]),
        (("Training", "Validation"), [36, 10, 4]),
        (("train", "valid", "test"), [40, 10, 10]),
    ],
)
def test_a_folder_that_is_already_split(tmp_path: Path, folders: tuple[str, ...], expected: list[int]) -> None:
    for seed, folder in enumerate(folders):
        draw(tmp_path / folder, classes=2, count=5 if seed else 20, seed=seed)
    dataset = data.load(tmp_path)
    assert dataset.classes == ("class0", "class1")
    assert sizes(dataset) == expected
    assert dataset.checksums.keys() == {"train", "validation", "test"}


@pytest.mark.parametrize("folders", [("train",), ("test", "val"), ("train", "val", "valid"), ("test", ".")])
def test_a_folder_split_in_another_way_is_one_clear_error(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for folder in folders:
        draw(tmp_path / folder, classes=2, count=5)
    with pytest.raises(DataError, match=rf"holds {folders[0]}/.* it needs train/ and also val/, test/ or both"):
        data.load(tmp_path)


def test_the_classes_of_the_splits_are_the_same(tmp_path: Path) -> None:
    draw(tmp_path / "train", classes=3, count=5)
    draw(tmp_path / "val", classes=2, count=5)
    with pytest.raises(DataError, match=r"train/ has the classes .*'class2'\), val/ has \('class0', 'class1'\)"):
        data.load(tmp_path)


def test_more_pictures_do_not_mix_the_splits(tmp_path: Path) -> None:
    """Else a network that was trained before they came is measured on its own training pictures."""
    draw(tmp_path, classes=2, count=50)
    before = data.load(tmp_path)
    draw(tmp_path, classes=3, count=1, seed=1)
    after = data.load(tmp_path)
    known = set(contents(before.train))
    assert sizes(before) == [80, 10, 10]
    assert sum(picture in known for part in (after.validation, after.test) for picture in contents(part)) <= 1


def test_equal_pictures_are_in_the_same_split(tmp_path: Path) -> None:
    draw(tmp_path, classes=2, count=30)
    for path in list(tmp_path.glob("*/*.png")):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    dataset = data.load(tmp_path)
    assert sizes(dataset) == [96, 12, 12]
    parts = [set(contents(split)) for split in (dataset.train, dataset.validation, dataset.test)]
    assert [len(part) for part in parts] == [48, 6, 6]
    assert len(set.union(*parts)) == 60


def test_copies_of_a_few_pictures_are_too_few(tmp_path: Path) -> None:
    draw(tmp_path, classes=2, count=2)
    for i in range(20):
        shutil.copy(tmp_path / "class0" / "0-0.png", tmp_path / "class0" / f"copy-{i}.png")
    with pytest.raises(DataError, match="4 different pictures are too few"):
        data.load(tmp_path)


def test_a_name_that_no_checkpoint_can_hold_is_refused_before_training(tmp_path: Path) -> None:
    draw(tmp_path / "pictures", classes=2, count=6)
    (tmp_path / "pictures" / "class1").rename(tmp_path / "pictures" / os.fsdecode(b"caf\xe9"))
    command = [sys.executable, "-m", "model.train", "--data", tmp_path / "pictures", "--out", tmp_path / "run"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert result.stderr == "the name of the folder 'caf\\udce9' is not UTF-8: rename it\n"
    (tmp_path / "pictures").rename(tmp_path / os.fsdecode(b"\xff"))
    with pytest.raises(DataError, match=r"'\\udcff' is not UTF-8"):
        data.load(tmp_path / os.fsdecode(b"\xff"))


def test_all_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    draw(tmp_path, classes=2, count=10)
    for i in range(20):
        (tmp_path / "class1" / f"broken-{i:02}.png").write_bytes(b"not a picture")
    with pytest.raises(DataError) as raised:
        data.load(tmp_path)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{tmp_path}: 20 of 40 files cannot be read as pictures")
    assert [f"broken-{i:02}.png" in line for i in range(20)] == [True] * 10 + [False] * 10


def test_hidden_files_are_skipped(tmp_path: Path) -> None:
    """macOS puts one beside each picture on a disk of another system."""
    draw(tmp_path, classes=2, count=10)
    (tmp_path / "class0" / "._0-0.png").write_bytes(b"\0\5\x16\7")
    assert sum(sizes(data.load(tmp_path))) == 20


def test_a_jpeg_without_its_end_marker_is_read_as_the_service_does(tmp_path: Path, boot: bytes) -> None:
    draw(tmp_path, classes=2, count=10)
    path = tmp_path / "class0" / "photo.jpg"
    with Image.open(io.BytesIO(boot)) as picture:
        picture.convert("L").resize((300, 300)).save(path)
    whole = path.read_bytes()
    expected = data.load(tmp_path).checksums
    for cut in (1, 2):
        path.write_bytes(whole[:-cut])
        assert data.load(tmp_path).checksums == expected
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"photo\.jpg .*truncated"):
        data.load(tmp_path)


def test_every_format_of_the_service_is_read(tmp_path: Path) -> None:
    """torchvision alone skips GIF, AVIF and HEIC without a word. Files that are no pictures are skipped."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    draw(tmp_path, classes=2, count=10)
    picture = Image.new("RGB", (30, 40), "red")
    for suffix in (".jpg", ".webp", ".gif", ".bmp", ".tiff", ".avif", ".heic", ".GIF"):
        picture.save(tmp_path / "class0" / f"picture{suffix}")
    (tmp_path / "class0" / "notes.txt").write_text("not a picture")
    dataset = data.load(tmp_path)
    assert sum(sizes(dataset)) == 28
    (tmp_path / "class1" / "broken.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r": 1 of 29 files cannot be read as pictures.*broken\.gif"):
        data.load(tmp_path)


@pytest.mark.parametrize("what", ["missing", "empty", "one class"])
def test_a_folder_that_cannot_be_trained_on(tmp_path: Path, what: str) -> None:
    if what == "one class":
        draw(tmp_path, classes=1, count=20)
    with pytest.raises(DataError, match=str(tmp_path)):
        data.load(tmp_path / "nowhere" if what == "missing" else tmp_path)
