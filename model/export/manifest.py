"""What model.export wrote beside a checkpoint: each graph's description, read and verified without any engine."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from model.checkpoint import Checkpoint, graph_file

AGAIN = "run python -m model.export"


class ExportError(Exception):
    """The export is missing, damaged or made from another checkpoint; the message says which."""


@dataclass(frozen=True)
class Precision:
    """A graph computed in one precision; all of it was worked out from what this very pair gives."""

    temperature: float
    """Of model.labels.probabilities, fitted on what the validation pictures get from this very pair."""
    threshold: float | None
    """Of the out-of-distribution score, found in the same way; None where the checkpoint has no detector."""
    golden: list[list[float]]
    """Probabilities of the checkpoint's golden pictures, [k][classes]."""
    accuracy: float | None
    """Fraction of the validation pictures right; None where they were not at hand."""


@dataclass(frozen=True)
class Export:
    """What is known of an exported graph, stored as JSON beside it."""

    checkpoint: str
    """Digest of the checkpoint it was made from."""
    sha256: dict[str, str]
    """Of its files, by their suffix."""
    precisions: dict[str, Precision]
    """By what computes in floating point, f32 or bf16; of int8 always f32, which quantisation left little for."""
    accepted: bool
    """Whether it is as good as the network in single precision, so that it may be chosen unasked."""
    made_from: dict[str, str] = field(default_factory=dict)
    """What the files and the precisions came from, by kind."""

    @classmethod
    def read(cls, checkpoint: Checkpoint, graph: str) -> "Export":
        """The description beside the checkpoint, its files not looked at. Raises ExportError."""
        path = graph_file(checkpoint.file, graph).with_suffix(".json")
        try:
            values = json.loads(path.read_text())
            precisions = {name: Precision(**known) for name, known in values.pop("precisions").items()}
            return cls(**values, precisions=precisions)
        except FileNotFoundError:
            raise ExportError(f"{path} is missing: {AGAIN}") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ExportError(f"{path} cannot be used ({error}): {AGAIN}") from None

    @classmethod
    def load(cls, checkpoint: Checkpoint, graph: str) -> "Export":
        """The same, verified: it belongs to this checkpoint and its files are as they were written."""
        export = cls.read(checkpoint, graph)
        if export.checkpoint != checkpoint.version:
            raise ExportError(f"{graph_file(checkpoint.file, graph)} was made from another checkpoint: {AGAIN}")
        export.verify(graph_file(checkpoint.file, graph))
        return export

    def verify(self, path: Path) -> None:
        """Raises ExportError where the graph's files are not as they were written."""
        try:
            found = {suffix: sha256(path.with_suffix(suffix)) for suffix in (".xml", ".bin")}
        except OSError as error:
            raise ExportError(f"{error.filename} is missing: {AGAIN}") from None
        if found != self.sha256:
            raise ExportError(f"{path} and its .bin are damaged: {AGAIN}")


def sha256(path: Path) -> str:
    """Of a file's contents, in hexadecimal. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
