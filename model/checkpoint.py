"""A checkpoint: one safetensors file with a trained network and everything needed to serve it.

Tensors: the folded network's weights in half precision, prefix `network.`; the out-of-distribution detector's,
prefix `detector.`; golden pictures and their expected probabilities. The documentation calls the golden pictures known
pictures. Metadata: classes, input size, normalisation, temperature, threshold, training, accuracy. A SHA-256 digest
covers all of it, and a damaged file is refused. Reading a checkpoint needs no torch and unpickles nothing.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from model import preprocess
from model.ood_detector import Detector

SHIPPED = Path(__file__).parent / "weights" / "googlenet.safetensors"

FORMAT = "fashion-googlenet/1"


class CheckpointError(Exception):
    """The file is missing, damaged or not a supported checkpoint; the message says which."""


@dataclass(frozen=True)
class Metadata:
    """The checkpoint's metadata, stored as JSON."""

    name: str
    classes: tuple[str, ...]
    mean: float
    """Mean of the pixels, 0–1; the network's input is (pixel / 255 - mean) / std."""
    std: float
    """Standard deviation of the pixels, 0–1."""
    accuracy: dict[str, float]
    """Accuracy by split, 0–1: validation (used to choose) and test (only reported)."""
    training: dict[str, Any]
    """Recipe, seed, data checksums, git commit, versions: everything needed to repeat the training."""
    temperature: float = 1.0
    """Logits are divided by this before softmax, once label smoothing has been removed."""
    smoothing: float = 0.0
    """The label smoothing that the network was trained with, and that is removed from its logits."""
    threshold: float | None = None
    """Pictures with a higher detector score are out of distribution; None without a detector."""
    architecture: str = "GoogLeNet"
    input_size: int = preprocess.SIZE
    preprocessing: int = preprocess.VERSION


@dataclass(frozen=True)
class Golden:
    """Pictures with the probabilities that every engine must compute for them."""

    pixels: NDArray[np.uint8]
    """[k,96,96]."""
    probabilities: NDArray[np.float32]
    """[k,classes], computed in single precision by the plain net."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights, golden pictures and metadata; `version` is the file's digest."""

    weights: dict[str, NDArray[np.generic]]
    """The network's, by name; float16."""
    golden: Golden
    metadata: Metadata
    detector: Detector | None = None
    """None if there was too little data to fit one."""
    file: Path = Path()
    """The file that was read; the exports are in the same folder."""
    version: str = ""

    def save(self, path: Path) -> None:
        """Writes the file atomically: complete or not at all."""
        tensors = self._tensors()
        metadata = {"format": FORMAT, "metadata": json.dumps(asdict(self.metadata), ensure_ascii=False)}
        replace_file(path, save(tensors, metadata={**metadata, "digest": _digest(tensors, metadata)}))

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Reads and verifies the file.

        Raises CheckpointError if it is missing, damaged, incomplete, of another format, or made for another
        architecture, input size or version of the preprocessing.
        """
        tensors, stored = _read(path)
        digest = stored.pop("digest", "")
        if stored.get("format") != FORMAT:
            raise CheckpointError(f"{path} is not a {FORMAT} checkpoint (train one: python -m model.train)")
        if digest != _digest(tensors, stored):
            raise CheckpointError(f"{path} is damaged: its contents do not match its digest; fetch or train it again")
        try:
            values = json.loads(stored["metadata"])
            metadata = Metadata(**{**values, "classes": tuple(values["classes"])})
            golden = Golden(tensors.pop("golden.pixels"), tensors.pop("golden.probabilities"))
            parts = _with_prefix("detector.", tensors)
            detector = Detector(**parts) if parts else None
        except (KeyError, TypeError, ValueError) as error:
            problem = f"lacks a part or has an unknown one ({error})"
            raise CheckpointError(f"{path} {problem}: another version may have written it; train it again") from None
        made_for = (metadata.architecture, metadata.input_size, metadata.preprocessing)
        if made_for != ("GoogLeNet", preprocess.SIZE, preprocess.VERSION):
            raise CheckpointError(
                f"{path} was made for {metadata.architecture}, {metadata.input_size} px, preprocessing "
                f"{metadata.preprocessing}; this is GoogLeNet, {preprocess.SIZE} px, preprocessing {preprocess.VERSION}"
            )
        return cls(_with_prefix("network.", tensors), golden, metadata, detector, path, digest)

    def serving_digest(self) -> str:
        """SHA-256 of everything that answers depend on: not the name, accuracy, training or preprocessing version."""
        metadata = replace(self.metadata, name="", accuracy={}, training={}, preprocessing=0)
        return _digest(self._tensors(), {"metadata": json.dumps(asdict(metadata), ensure_ascii=False)})

    def _tensors(self) -> dict[str, NDArray[Any]]:
        weights = {f"network.{name}": tensor for name, tensor in self.weights.items()}
        detector = {} if self.detector is None else {f"detector.{name}": a for name, a in vars(self.detector).items()}
        golden = {"golden.pixels": self.golden.pixels, "golden.probabilities": self.golden.probabilities}
        tensors = {**weights, **detector, **golden}
        return {name: np.ascontiguousarray(array) for name, array in tensors.items()}  # safetensors needs this


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file atomically, complete or not at all even if the power fails. Makes its folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def graph_file(checkpoint_file: Path, graph: str) -> Path:
    """The file of a checkpoint's exported graph; `graph` is openvino or openvino-int8, as model.export writes them."""
    return checkpoint_file.with_suffix(f".{graph}.xml")


def _with_prefix(prefix: str, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}") from None
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error})") from None


def _digest(tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> str:
    """SHA-256 of metadata and tensors: names, types, shapes and contents, in a fixed order."""
    sha256 = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        sha256.update(np.ascontiguousarray(tensor).tobytes())
    return sha256.hexdigest()
