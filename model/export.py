"""Checkpoint → what each engine loads, written beside it.

    python -m model.export                       the shipped checkpoint (make export)
    python -m model.export --checkpoint FILE     one of your own

OpenVINO: NAME.openvino.xml and .bin, the inference graph with a free batch size, and NAME.openvino.json,
which ties them to the checkpoint and says what the golden pictures must get in each precision.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import SHIPPED, Checkpoint, CheckpointError, graph_file
from model.labels import softmax
from model.openvino import ov
from model.preprocess import SIZE


class ExportError(Exception):
    """The export is missing, damaged or made from another checkpoint; the message says which."""


@dataclass(frozen=True)
class Export:
    """What is known of an exported graph, stored as JSON beside it."""

    checkpoint: str
    """Digest of the checkpoint it was made from."""
    sha256: dict[str, str]
    """Of its files, by their suffix."""
    temperature: float
    golden: dict[str, list[list[float]]]
    """Probabilities of the checkpoint's golden pictures [k][classes], by precision."""

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> "Export":
        """The export beside the checkpoint, verified. Raises ExportError."""
        path = graph_file(checkpoint.file).with_suffix(".json")
        try:
            export = cls(**json.loads(path.read_text()))
            found = {suffix: _sha256(path.with_suffix(suffix)) for suffix in export.sha256}
        except FileNotFoundError as error:
            raise ExportError(f"{error.filename} is missing: run python -m model.export") from None
        except (OSError, ValueError, TypeError) as error:
            raise ExportError(f"{path} cannot be used ({error}): run python -m model.export") from None
        if export.checkpoint != checkpoint.version:
            raise ExportError(f"{path} was made from another checkpoint: run python -m model.export")
        if found != export.sha256:
            raise ExportError(f"the files beside {path} are damaged: run python -m model.export")
        return export


def compile_graph(path: Path, precision: str, threads: int) -> ov.CompiledModel:
    """The graph, ready to run on the CPU in f32 or bf16."""
    core = ov.Core()
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    return core.compile_model(path, "CPU", hints)


def best_precision(offered: Collection[str] = ("f32", "bf16")) -> str:
    """bf16 where it is offered and the CPU computes in it, f32 elsewhere."""
    capabilities = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bf16" if "bf16" in offered and "BF16" in capabilities else "f32"


def export(checkpoint_file: Path) -> Export:
    """Writes the graph and its description, atomically. Raises CheckpointError."""
    import torch  # not at the top: the engine that loads what this writes needs none

    from model.evaluate import load_graph

    checkpoint = Checkpoint.load(checkpoint_file)
    pixels = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8)
    program = torch.export.export(load_graph(checkpoint), (pixels,), dynamic_shapes=({0: torch.export.Dim("n")},))
    model = ov.convert_model(program)
    model.reshape([-1, SIZE, SIZE])
    target = graph_file(checkpoint_file)
    part = target.with_name("part-" + target.name)
    ov.save_model(model, part, compress_to_fp16=True)
    for suffix in (".xml", ".bin"):
        os.replace(part.with_suffix(suffix), target.with_suffix(suffix))
    description = Export(
        checkpoint=checkpoint.version,
        sha256={suffix: _sha256(target.with_suffix(suffix)) for suffix in (".xml", ".bin")},
        temperature=checkpoint.metadata.temperature,
        golden={precision: _golden(target, precision, checkpoint) for precision in sorted({"f32", best_precision()})},
    )
    part.with_suffix(".json").write_text(json.dumps(asdict(description)) + "\n")
    os.replace(part.with_suffix(".json"), target.with_suffix(".json"))
    return description


def _golden(path: Path, precision: str, checkpoint: Checkpoint) -> list[list[float]]:
    logits: NDArray[np.float32] = compile_graph(path, precision, threads=0)(checkpoint.golden.pixels)[0]
    return [[round(float(p), 7) for p in row] for row in softmax(logits, checkpoint.metadata.temperature)]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, metavar="FILE")
    arguments = parser.parse_args()
    try:
        description = export(arguments.checkpoint)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{graph_file(arguments.checkpoint)}: golden answers in {' and '.join(description.golden)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
