"""The ways a checkpoint is run here – each export in each precision – with what was fitted to each."""

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Checkpoint, graph_file
from model.exported import Export, ExportError
from model.labels import probabilities
from model.outliers import NEAR, Detector, best_turn
from model.predict import Outputs, Run, runner


class Answers(NamedTuple):
    """What the service would say of some pictures."""

    probabilities: NDArray[np.float32]
    """[n,classes]."""
    flagged: NDArray[np.bool_] | None
    """[n], out of distribution; None where nothing can tell."""
    excess: NDArray[np.float32] | None
    """[n], the score less the threshold, of the picture as it lies; None as above."""


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
            return Answers(found, None, None)
        excess = self.detector.score(*outputs) - self.threshold
        return Answers(found, excess > 0, excess)

    def righted(self, pixels: NDArray[np.uint8], answers: Answers) -> Answers:
        """What it says of pictures [n,96,96] once those that look strange, or nearly so, may be turned by quarters."""
        if answers.flagged is None or answers.excess is None:
            return answers
        (near,) = (answers.excess > -NEAR).nonzero()
        if not len(near):
            return answers
        turned = [self.answers(self.run(np.ascontiguousarray(np.rot90(pixels[near], k, (1, 2))))) for k in (1, 2, 3)]
        found = np.stack([answers.probabilities[near], *(each.probabilities for each in turned)])
        excess = [answers.excess[near], *(each.excess for each in turned if each.excess is not None)]
        best, strange = best_turn(np.stack(excess), found.max(2))
        rows, flagged = answers.probabilities.copy(), answers.flagged.copy()
        rows[near], flagged[near] = found[best, np.arange(len(near))], strange
        return Answers(rows, flagged, answers.excess)


def ways(checkpoint: Checkpoint) -> list[Served]:
    """The exports that are there, what serves on this CPU last; without any, the network in torch."""
    metadata = checkpoint.metadata
    exports = {}
    for graph in ("openvino", "openvino-int8"):
        with suppress(ExportError):
            exports[graph] = Export.load(checkpoint, graph)
    found = []
    for graph, export in sorted(exports.items(), key=lambda item: item[1].accepted):
        found += _exported(checkpoint, graph, export)
    kept = (metadata.temperature, metadata.smoothing, checkpoint.detector, metadata.threshold)
    return found or [Served("torch, fp32", runner(checkpoint), *kept)]


def _exported(checkpoint: Checkpoint, graph: str, export: Export) -> list[Served]:
    """One graph in those of its precisions that this CPU computes in, the one that serves here last."""
    from model.export import graph_runner  # not at the top: OpenVINO is not on every platform
    from model.openvino import best_precision

    path, smoothing, detector = graph_file(checkpoint.file, graph), checkpoint.metadata.smoothing, checkpoint.detector
    return [
        Served(f"{graph}, {n}", graph_runner(path, n), fitted.temperature, smoothing, detector, fitted.threshold)
        for n in dict.fromkeys(("f32", best_precision(export.precisions)))
        if (fitted := export.precisions.get(n))
    ]
