"""A trained network in one safetensors file that says everything needed to serve it.

Tensors: the folded network's weights in half precision under `network.`, the out-of-distribution
detector's under `detector.`, and the golden pictures with the probabilities they must get. Metadata:
classes, input size, normalisation, temperature, threshold, how it was trained and how well it does. A
digest over all of it refuses a file in which one bit has changed; nothing is ever unpickled. Needs
neither torch nor the network, so any engine or tool can read it.
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
    """The file is missing, damaged or not a checkpoint of ours; the message says which."""


@dataclass(frozen=True)
class Metadata:
    """What travels with the weights, as JSON."""

    name: str
    classes: tuple[str, ...]
    mean: float
    """Subtracted from pixels scaled to 0–1, before …"""
    std: float
    """… dividing by this."""
    accuracy: dict[str, float]
    """Fraction of pictures right, by split: validation (what was chosen by) and test (only reported)."""
    training: dict[str, Any]
    """Recipe, seed, data checksums, git commit, versions: what it takes to train it again."""
    temperature: float = 1.0
    """Logits are divided by this before softmax …"""
    smoothing: float = 0.0
    """… after this label smoothing, which the network was trained with, was taken out of them."""
    threshold: float | None = None
    """Pictures the detector scores higher are out of distribution; None where there is no detector."""
    architecture: str = "GoogLeNet"
    input_size: int = preprocess.SIZE
    preprocessing: int = preprocess.VERSION


@dataclass(frozen=True)
class Golden:
    """Pictures with known answers: what any engine must give for this checkpoint."""

    pixels: NDArray[np.uint8]
    """[k,96,96]."""
    probabilities: NDArray[np.float32]
    """[k,classes], computed in single precision by the plain network."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights, golden pictures and metadata; `version` is the file's digest."""

    weights: dict[str, NDArray[np.generic]]
    golden: Golden
    metadata: Metadata
    detector: Detector | None = None
    """None where there was too little to fit one on."""
    file: Path = Path()
    """Where it was read from; its exports lie beside it."""
    version: str = ""

    def save(self, path: Path) -> None:
        """Writes the file atomically: it is there whole or not at all."""
        tensors = self._tensors()
        metadata = {"format": FORMAT, "metadata": json.dumps(asdict(self.metadata), ensure_ascii=False)}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".part")
        temporary.write_bytes(save(tensors, metadata={**metadata, "digest": _digest(tensors, metadata)}))
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Reads and verifies the file.

        Raises CheckpointError if it is missing, damaged, of another format, or made for another
        preprocessing than this package's.
        """
        tensors, stored = _read(path)
        digest = stored.pop("digest", "")
        if stored.get("format") != FORMAT:
            raise CheckpointError(f"{path} is not a {FORMAT} checkpoint (train one: python -m model.train)")
        if digest != _digest(tensors, stored):
            raise CheckpointError(f"{path} is damaged: its contents do not match its digest; fetch or train it again")
        values = json.loads(stored["metadata"])
        metadata = Metadata(**{**values, "classes": tuple(values["classes"])})
        made_for = (metadata.architecture, metadata.input_size, metadata.preprocessing)
        if made_for != ("GoogLeNet", preprocess.SIZE, preprocess.VERSION):
            raise CheckpointError(
                f"{path} was made for {metadata.architecture}, {metadata.input_size} px, preprocessing "
                f"{metadata.preprocessing}; this is GoogLeNet, {preprocess.SIZE} px, preprocessing {preprocess.VERSION}"
            )
        golden = Golden(tensors.pop("golden.pixels"), tensors.pop("golden.probabilities"))
        parts = _under("detector.", tensors)
        detector = Detector(**parts) if parts else None
        return cls(_under("network.", tensors), golden, metadata, detector, path, digest)

    def substance(self) -> str:
        """Digest of what answers depend on: all but the name, how it was trained, how good it is and for what input."""
        metadata = replace(self.metadata, name="", accuracy={}, training={}, preprocessing=0)
        return _digest(self._tensors(), {"metadata": json.dumps(asdict(metadata), ensure_ascii=False)})

    def _tensors(self) -> dict[str, NDArray[Any]]:
        weights = {f"network.{name}": tensor for name, tensor in self.weights.items()}
        detector = {} if self.detector is None else {f"detector.{name}": a for name, a in vars(self.detector).items()}
        golden = {"golden.pixels": self.golden.pixels, "golden.probabilities": self.golden.probabilities}
        tensors = {**weights, **detector, **golden}
        return {name: np.ascontiguousarray(array) for name, array in tensors.items()}  # as safetensors writes them


def graph_file(checkpoint_file: Path, graph: str) -> Path:
    """Where an exported graph of a checkpoint is: openvino or openvino-int8, both written by model.export."""
    return checkpoint_file.with_suffix(f".{graph}.xml")


def _under(prefix: str, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
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
    """SHA-256 over names, types, shapes, contents and metadata, in a fixed order."""
    sha256 = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        sha256.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        sha256.update(np.ascontiguousarray(tensor).tobytes())
    return sha256.hexdigest()
