"""The ways a checkpoint is run here – each export in each precision – with what was fitted to each."""

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Checkpoint, graph_file
from model.export.manifest import Export, ExportError
from model.labels import probabilities
from model.ood_detector import Detector, clearly_known
from model.predict import Outputs, Predictor, load_predictor


class Answers(NamedTuple):
    """What the service would say of some pictures."""

    probabilities: NDArray[np.float32]
    """[n,classes]."""
    flagged: NDArray[np.bool_] | None
    """[n], out of distribution; None where nothing can tell."""
    clear: NDArray[np.float32] | None
    """[n], the score where the picture is clearly a garment, elsewhere infinite; None as above."""


@dataclass(frozen=True)
class Served:
    """One way."""

    name: str
    run: Predictor
    temperature: float
    smoothing: float
    detector: Detector | None
    threshold: float | None

    def answers(self, outputs: Outputs) -> Answers:
        found = probabilities(outputs.logits, self.temperature, self.smoothing)
        if self.detector is None or self.threshold is None:
            return Answers(found, None, None)
        scores = self.detector.score(*outputs)
        clear = clearly_known(found, scores, self.threshold)
        return Answers(found, scores > self.threshold, np.where(clear, scores, np.float32(np.inf)))

    def righted(self, pixels: NDArray[np.uint8], answers: Answers) -> Answers:
        """What it says of pictures [n,96,96] once those that look strange may be turned by quarters."""
        if answers.flagged is None or not answers.flagged.any():
            return answers
        (strange,) = answers.flagged.nonzero()
        turned = [self.answers(self.run(np.ascontiguousarray(np.rot90(pixels[strange], k, (1, 2))))) for k in (1, 2, 3)]
        scores = np.stack([each.clear for each in turned if each.clear is not None])
        best, known = scores.argmin(0), np.isfinite(scores.min(0))
        found, flagged = answers.probabilities.copy(), answers.flagged.copy()
        chosen = np.stack([each.probabilities for each in turned])[best, np.arange(len(strange))]
        found[strange[known]], flagged[strange[known]] = chosen[known], False
        return Answers(found, flagged, answers.clear)


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
    return found or [Served("torch, fp32", load_predictor(checkpoint), *kept)]


def _exported(checkpoint: Checkpoint, graph: str, export: Export) -> list[Served]:
    """One graph in those of its precisions that this CPU computes in, the one that serves here last."""
    from model.export.export import graph_runner  # not at the top: OpenVINO is not on every platform
    from model.export.openvino import best_precision

    path, smoothing, detector = graph_file(checkpoint.file, graph), checkpoint.metadata.smoothing, checkpoint.detector
    return [
        Served(f"{graph}, {n}", graph_runner(path, n), fitted.temperature, smoothing, detector, fitted.threshold)
        for n in dict.fromkeys(("f32", best_precision(export.precisions)))
        if (fitted := export.precisions.get(n))
    ]
