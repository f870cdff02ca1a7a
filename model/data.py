"""Loads Fashion-MNIST, or an ImageFolder tree of other pictures, into memory as uint8.

Fashion-MNIST: Xiao, Rasul and Vollgraf 2017, 60,000 training and 10,000 test pictures, 28×28, ten classes, MIT
licence. The test set is only reported. The validation set is a fixed random part of the training set.
"""

import gzip
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.datasets import FashionMNIST, ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from model.preprocess import preprocess

DEBIAN = Path("/usr/share/datasets/fashion-mnist")

SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""Of the decompressed files: the archives differ between distributors."""

SUFFIXES = (*IMG_EXTENSIONS, ".gif", ".avif", ".heic", ".heif")
"""Files that are read from an ImageFolder tree: torchvision's suffixes, and the others that the service reads."""

VALIDATION_SEED = 20170825
"""Seed of the split into training and validation pictures: the day on which the data set was published."""


class DataError(Exception):
    """The data is missing or damaged; the message says what to do."""


@dataclass(frozen=True)
class Split:
    """Pixels uint8 [n,h,w] and labels int64 [n]."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "Split":
        return Split(self.pixels[index], self.labels[index])

    def to(self, device: torch.device) -> "Split":
        return Split(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    checksums: dict[str, str]
    """SHA-256 of Fashion-MNIST's files, or of each split's pixels and labels."""


def load(directory: Path | None = None) -> Dataset:
    """Fashion-MNIST (55,000/5,000/10,000), or the ImageFolder tree in `directory`.

    Without a `directory`, data/ and Debian's package dataset-fashion-mnist are tried, then torchvision downloads to
    data/. An ImageFolder tree has one folder for each class, either directly (split 80/10/10 by a fixed seed) or in
    train/ and test/ (a tenth of train/ becomes the validation set). Files without one of SUFFIXES are skipped.

    Raises DataError if no usable data is found.
    """
    if directory is not None:
        source = _find_files(directory)
        return _image_folder(directory) if source is None else _fashion_mnist(source)
    for candidate in (Path("data"), DEBIAN):
        source = _find_files(candidate)
        if source is not None:
            return _fashion_mnist(source)
    return _fashion_mnist(_download(Path("data")))


def _find_files(directory: Path) -> Path | None:
    """The folder with Fashion-MNIST's files, plain or gzipped: `directory`, or torchvision's subfolder in it."""
    for folder in (directory, directory / "FashionMNIST" / "raw"):
        if any((folder / (name + suffix)).exists() for name in SHA256 for suffix in ("", ".gz")):
            return folder
    return None


def _download(root: Path) -> Path:
    """Downloads by torchvision, completely or not at all."""
    root.mkdir(exist_ok=True)
    try:
        with TemporaryDirectory(dir=root) as temporary:
            FashionMNIST(temporary, download=True)
            shutil.move(Path(temporary) / "FashionMNIST", root)
    except Exception as error:  # the network, a proxy or a mirror may raise anything
        raise DataError(
            "Fashion-MNIST is not here and could not be downloaded; install Debian's package dataset-fashion-mnist, "
            f"or put its four .gz files into data/ or any folder named by --data ({error})"
        ) from error
    return root / "FashionMNIST" / "raw"


def _fashion_mnist(source: Path) -> Dataset:
    with TemporaryDirectory() as root:
        raw = Path(root) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for name in SHA256:
            _unpack(source, name, raw)
        train, test = FashionMNIST(root, train=True), FashionMNIST(root, train=False)
        training, validation = _random_split(Split(train.data.clone(), train.targets.clone()), parts=(55_000, 5_000))
        return Dataset(
            name="fashion-mnist",
            classes=tuple(train.classes),
            train=training,
            validation=validation,
            test=Split(test.data.clone(), test.targets.clone()),
            checksums=dict(SHA256),
        )


def _unpack(source: Path, name: str, target: Path) -> None:
    """Copies one file for torchvision to read, decompressed and verified."""
    try:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
        else:
            with gzip.open(source / f"{name}.gz") as packed, (target / name).open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
    except FileNotFoundError:
        raise DataError(f"{source} has no {name}[.gz]: copy it there too, or name another folder by --data") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{source / name}.gz cannot be unpacked ({error}): replace it") from None
    if hashlib.sha256((target / name).read_bytes()).hexdigest() != SHA256[name]:
        raise DataError(f"{source / name} is damaged (its SHA-256 is not the published file's): replace it")


def _image_folder(directory: Path) -> Dataset:
    if not directory.is_dir():
        raise DataError(f"--data {directory}: there is no such folder")
    if (directory / "train").is_dir() and (directory / "test").is_dir():
        classes, pictures = _read_pictures(directory / "train")
        test_classes, test = _read_pictures(directory / "test")
        if test_classes != classes:
            raise DataError(f"{directory}: train/ has the classes {classes}, test/ has {test_classes}")
        held_out = max(1, len(pictures) // 10)
        train, validation = _random_split(pictures, parts=(len(pictures) - held_out, held_out))
    else:
        classes, pictures = _read_pictures(directory)
        held_out = max(1, len(pictures) // 10)
        train, validation, test = _random_split(pictures, parts=(len(pictures) - 2 * held_out, held_out, held_out))
    checksums = {
        name: _checksum(split) for name, split in (("train", train), ("validation", validation), ("test", test))
    }
    return Dataset(directory.resolve().name.lower(), classes, train, validation, test, checksums)


def _checksum(split: Split) -> str:
    return hashlib.sha256(split.pixels.numpy().tobytes() + split.labels.numpy().tobytes()).hexdigest()


def _read_pictures(root: Path) -> tuple[tuple[str, ...], Split]:
    """Class names and all pictures below root, preprocessed to uint8 [96,96]."""
    if find_spec("pillow_heif"):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    try:
        folder = ImageFolder(str(root), loader=_read_picture, is_valid_file=_is_picture)
        pairs = [folder[i] for i in range(len(folder))]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{root} has neither Fashion-MNIST's files nor a folder of pictures for each class: {error}"
        ) from None
    if len(folder.classes) < 2 or len(pairs) < 10:
        raise DataError(f"{root}: {len(pairs)} pictures of {len(folder.classes)} classes are too few to train on")
    pixels = torch.from_numpy(np.stack([pixels for pixels, _ in pairs]))
    return tuple(folder.classes), Split(pixels, torch.tensor([label for _, label in pairs]))


def _is_picture(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


def _read_picture(path: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return preprocess(image).pixels
    except Exception as error:  # Pillow may raise anything for a malformed file
        raise DataError(f"{path} cannot be read as a picture ({error}): replace or remove it") from error


def _random_split(split: Split, parts: Sequence[int]) -> list[Split]:
    """Disjoint random parts, by a fixed seed."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(VALIDATION_SEED))
    return [split[index] for index in torch.split(order, list(parts))]
