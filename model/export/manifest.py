"""The manifest of an exported graph: reads and verifies what model.export wrote, without OpenVINO."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from model.checkpoint import Checkpoint, graph_file

HOW_TO_EXPORT = "run python -m model.export"


class ExportError(Exception):
    """The export is missing, damaged or made from another checkpoint; the message says which."""


@dataclass(frozen=True)
class Precision:
    """Calibration and measurements of one graph computed in one precision, from its own outputs."""

    temperature: float
    """Divides the logits in model.labels.probabilities; fitted on the validation pictures."""
    threshold: float | None
    """Out-of-distribution scores above it are flagged; None if the checkpoint has no detector."""
    golden: list[list[float]]
    """Probabilities of the checkpoint's golden pictures, [k][classes]."""
    accuracy: float | None
    """Fraction of the validation pictures classified correctly; None if the data was not available."""


@dataclass(frozen=True)
class Export:
    """An exported graph's manifest, stored as JSON beside it."""

    checkpoint: str
    """Digest of the checkpoint that it was made from."""
    sha256: dict[str, str]
    """Digest of each of the graph's files, by suffix: .xml and .bin."""
    precisions: dict[str, Precision]
    """By the precision of the floating-point layers: f32 or bf16; only f32 for an int8 graph."""
    accepted: bool
    """Whether the accuracy is close enough to single precision for the service to choose this graph by itself."""
    made_from: dict[str, str] = field(default_factory=dict)
    """Versions and digests of what the graph was made from: checkpoint, data and tools."""

    @classmethod
    def read(cls, checkpoint: Checkpoint, graph: str) -> "Export":
        """Reads the manifest without verifying the graph's files. Raises ExportError."""
        path = graph_file(checkpoint.file, graph).with_suffix(".json")
        try:
            values = json.loads(path.read_text())
            precisions = {name: Precision(**known) for name, known in values.pop("precisions").items()}
            return cls(**values, precisions=precisions)
        except FileNotFoundError:
            raise ExportError(f"{path} is missing: {HOW_TO_EXPORT}") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ExportError(f"{path} cannot be used ({error}): {HOW_TO_EXPORT}") from None

    @classmethod
    def load(cls, checkpoint: Checkpoint, graph: str) -> "Export":
        """Reads the manifest and verifies checkpoint and files. Raises ExportError if one of them does not match."""
        export = cls.read(checkpoint, graph)
        if export.checkpoint != checkpoint.version:
            raise ExportError(f"{graph_file(checkpoint.file, graph)} was made from another checkpoint: {HOW_TO_EXPORT}")
        export.verify(graph_file(checkpoint.file, graph))
        return export

    def verify(self, path: Path) -> None:
        """Raises ExportError if the graph's files are missing or damaged."""
        try:
            found = {suffix: sha256(path.with_suffix(suffix)) for suffix in (".xml", ".bin")}
        except OSError as error:
            raise ExportError(f"{error.filename} is missing: {HOW_TO_EXPORT}") from None
        if found != self.sha256:
            raise ExportError(f"{path} and its .bin are damaged: {HOW_TO_EXPORT}")


def sha256(path: Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
