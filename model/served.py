"""The ways a checkpoint is run here – each export in each precision – with what was fitted to each."""

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Checkpoint, graph_file
from model.export import GRAPHS, graph_runner
from model.exported import Export, ExportError
from model.labels import probabilities
from model.openvino import best_precision
from model.outliers import Detector
from model.predict import Outputs, Run, runner


class Answers(NamedTuple):
    """What the service would say of some pictures."""

    probabilities: NDArray[np.float32]
    """[n,classes]."""
    flagged: NDArray[np.bool_] | None
    """[n], out of distribution; None where nothing can tell."""


@dataclass(frozen=True)
class Served:
    """One way."""

    name: str
    run: Run
    temperature: float
    smoothing: float
    detector: Detector | None
    threshold: float | None

    def answers(self, outputs: Outputs) -> Answers:
        found = probabilities(outputs.logits, self.temperature, self.smoothing)
        if self.detector is None or self.threshold is None:
            return Answers(found, None)
        return Answers(found, self.detector.score(*outputs) > self.threshold)


def ways(checkpoint: Checkpoint) -> list[Served]:
    """The exports that are there, what serves on this CPU last; without any, the network in torch."""
    metadata, detector = checkpoint.metadata, checkpoint.detector
    exports = {}
    for graph in GRAPHS:
        with suppress(ExportError):
            exports[graph] = Export.load(checkpoint, graph)
    found = []
    for graph, export in sorted(exports.items(), key=lambda item: item[1].accepted):
        best = best_precision(export.precisions)
        for name in [*(name for name in export.precisions if name != best), best]:
            fitted, run = export.precisions[name], graph_runner(graph_file(checkpoint.file, graph), name)
            kept = (fitted.temperature, metadata.smoothing, detector, fitted.threshold)
            found.append(Served(f"{graph}, {name}", run, *kept))
    kept = (metadata.temperature, metadata.smoothing, detector, metadata.threshold)
    return found or [Served("torch, fp32", runner(checkpoint), *kept)]
