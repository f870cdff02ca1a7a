"""Loads Fashion-MNIST, or an ImageFolder tree of other pictures, into memory as uint8.

Fashion-MNIST: Xiao, Rasul and Vollgraf 2017, 60,000 training and 10,000 test pictures, 28×28, ten classes, MIT
licence. The test set is only reported. The validation set is a fixed part of the training set.
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
from PIL import Image, JpegImagePlugin
from torch import Tensor
from torchvision.datasets import FashionMNIST, ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from model.preprocess import preprocess
from model.preprocess.truncated_jpeg import decode_truncated

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
"""Seed of Fashion-MNIST's split into training and validation pictures: the day on which it was published."""

SPLIT_FOLDERS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLIT_FOLDERS |= dict.fromkeys(("val", "valid", "validation"), "validation")
"""Split by the name of its folder in an ImageFolder tree, in lower case."""

MAX_NAMED = 10
"""Unreadable files that an error names; of the others it tells the number."""


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
    data/. An ImageFolder tree has one folder for each class, either directly or in train/ and test/, val/ or both. A
    tenth of the training pictures becomes the validation set, and another the test set, if it has no folder. Which
    ones depends on their own pixels only. Hidden files and those without one of SUFFIXES are skipped.

    Raises DataError if no usable data is found, or for files that cannot be read.
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
    name = directory.resolve().name.lower()
    _require_utf8(name)
    folders = _find_split_folders(directory)
    classes, train = _read_pictures(folders.pop("train"))
    splits = {}
    for split, folder in folders.items():
        other_classes, splits[split] = _read_pictures(folder)
        if other_classes != classes:
            raise DataError(f"{directory}: train/ has the classes {classes}, {folder.name}/ has {other_classes}")
    missing = [split for split in ("test", "validation") if split not in splits]
    *held_out, splits["train"] = _split_by_pixels(train, len(missing))
    splits |= zip(missing, held_out, strict=True)
    return Dataset(name, classes, **splits, checksums={split: _checksum(part) for split, part in splits.items()})


def _find_split_folders(directory: Path) -> dict[str, Path]:
    """The folders of the splits; if there are none, `directory` itself is the folder of `train`."""
    found = [path for path in sorted(directory.iterdir()) if path.is_dir() and path.name.lower() in SPLIT_FOLDERS]
    if len(found) == 1 and not any(path.is_dir() for path in found[0].iterdir()):
        found = []  # a class, such as trains
    if not found:
        return {"train": directory}
    folders = {SPLIT_FOLDERS[path.name.lower()]: path for path in found}
    if "train" not in folders or len(folders) == 1 or len(folders) < len(found):
        raise DataError(
            f"{directory} holds {', '.join(f'{path.name}/' for path in found)}: it needs train/ and also val/, test/ "
            "or both; or else name the folder of the class folders by --data"
        )
    return folders


def _checksum(split: Split) -> str:
    return hashlib.sha256(split.pixels.numpy().tobytes() + split.labels.numpy().tobytes()).hexdigest()


def _read_pictures(root: Path) -> tuple[tuple[str, ...], Split]:
    """Class names and all pictures below root, preprocessed to uint8 [96,96]."""
    if find_spec("pillow_heif"):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    try:
        folder = ImageFolder(str(root), is_valid_file=_is_picture)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{root} has neither Fashion-MNIST's files nor a folder of pictures for each class: {error}"
        ) from None
    _require_utf8(*folder.classes)
    if len(folder.classes) < 2 or len(folder) < 10:
        raise DataError(f"{root}: {len(folder)} pictures of {len(folder.classes)} classes are too few to train on")
    pixels, unreadable = [], []
    for path, _ in folder.samples:
        try:
            pixels.append(_read_picture(Path(path)))
        except Exception as error:  # Pillow may raise anything for a malformed file
            unreadable.append(f"{path} ({error})")
    if unreadable:
        names = ", ".join(unreadable[:MAX_NAMED]) + (", …" if len(unreadable) > MAX_NAMED else "")
        count = f"{len(unreadable)} of {len(folder)} files"
        raise DataError(f"{root}: {count} cannot be read as pictures, replace or remove them: {names}")
    return tuple(folder.classes), Split(torch.from_numpy(np.stack(pixels)), torch.tensor(folder.targets))


def _require_utf8(*names: str) -> None:
    """Raises DataError for a folder's name that a checkpoint cannot hold."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(f"the name of the folder {name!a} is not UTF-8: rename it") from None


def _is_picture(path: str) -> bool:
    return path.lower().endswith(SUFFIXES) and not Path(path).name.startswith(".")


def _read_picture(path: Path) -> NDArray[np.uint8]:
    """A JPEG, unless it is progressive, may lack its end marker, as some cameras leave it, but none of its pixels."""
    with Image.open(path) as image:
        try:
            return preprocess(image).pixels
        except OSError:
            if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.info.get("progressive"):
                raise
            restored = decode_truncated(path.read_bytes(), Image.open)
            if restored is None:
                raise
            return preprocess(restored).pixels


def _split_by_pixels(pictures: Split, held_out: int) -> list[Split]:
    """Splits off `held_out` parts, each a tenth of the different pictures. The last part is the rest.

    The pictures are ordered by the SHA-256 of their pixels. So equal pictures are in the same part, and when others are
    added, almost all stay where they are.
    """
    digests = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures.pixels.numpy()]
    different, ranks = np.unique(digests, return_inverse=True)
    if len(different) < 10:
        raise DataError(f"{len(different)} different pictures are too few to train on")
    order = ranks.argsort(kind="stable")
    ends = np.searchsorted(ranks[order], len(different) // 10 * np.arange(1, held_out + 1))
    return [pictures[index] for index in torch.tensor_split(torch.from_numpy(order), ends.tolist())]


def _random_split(split: Split, parts: Sequence[int]) -> list[Split]:
    """Disjoint random parts, by a fixed seed."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(VALIDATION_SEED))
    return [split[index] for index in torch.split(order, list(parts))]
