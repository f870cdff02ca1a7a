"""Computes what the service answers with each export in each precision, by its own calibration."""

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Checkpoint, graph_file
from model.export.manifest import Export, ExportError
from model.labels import probabilities
from model.ood_detector import Detector, best_turn, needs_rotation_check
from model.predict import Outputs, Predictor, load_predictor


class Predictions(NamedTuple):
    """The service's answers for n pictures."""

    probabilities: NDArray[np.float32]
    """[n,classes]."""
    flagged: NDArray[np.bool_] | None
    """[n], whether it is called out of distribution; None without a detector."""
    excess: NDArray[np.float32] | None
    """[n], the out-of-distribution score minus the threshold; None without a detector."""


@dataclass(frozen=True)
class ServedModel:
    """One graph in one precision, with its calibration."""

    name: str
    run: Predictor
    temperature: float
    smoothing: float
    detector: Detector | None
    threshold: float | None

    def predictions(self, outputs: Outputs) -> Predictions:
        """The answers for the network's outputs."""
        found = probabilities(outputs.logits, self.temperature, self.smoothing)
        if self.detector is None or self.threshold is None:
            return Predictions(found, None, None)
        excess = self.detector.score(*outputs) - self.threshold
        return Predictions(found, excess > 0, excess)

    def correct_quarter_turns(self, pixels: NDArray[np.uint8], predictions: Predictions) -> Predictions:
        """Tries pictures, uint8 [n,96,96], in their other quarter turns where the service does."""
        if predictions.flagged is None or predictions.excess is None:
            return predictions
        (unclear,) = needs_rotation_check(predictions.excess).nonzero()
        if not len(unclear):
            return predictions
        turned = [np.ascontiguousarray(np.rot90(pixels[unclear], k, (1, 2))) for k in (1, 2, 3)]
        turns = [self.predictions(self.run(pictures)) for pictures in turned]
        found = np.stack([predictions.probabilities[unclear], *(turn.probabilities for turn in turns)])
        excess = [predictions.excess[unclear], *(turn.excess for turn in turns if turn.excess is not None)]
        best, out_of_distribution = best_turn(np.stack(excess), found.max(2))
        answers, flagged = predictions.probabilities.copy(), predictions.flagged.copy()
        answers[unclear], flagged[unclear] = found[best, np.arange(len(unclear))], out_of_distribution
        return Predictions(answers, flagged, predictions.excess)


def served_models(checkpoint: Checkpoint) -> list[ServedModel]:
    """The checkpoint's exports, the one that serves on this CPU last; without exports, the network in torch."""
    metadata = checkpoint.metadata
    exports = {}
    for graph in ("openvino", "openvino-int8"):
        with suppress(ExportError):
            exports[graph] = Export.load(checkpoint, graph)
    models = []
    for graph, export in sorted(exports.items(), key=lambda item: item[1].accepted):
        models += _exported_models(checkpoint, graph, export)
    calibration = (metadata.temperature, metadata.smoothing, checkpoint.detector, metadata.threshold)
    return models or [ServedModel("torch, fp32", load_predictor(checkpoint), *calibration)]


def _exported_models(checkpoint: Checkpoint, graph: str, export: Export) -> list[ServedModel]:
    """One graph in the precisions that this CPU computes, the one that serves here last."""
    from model.export.export import graph_runner  # here: OpenVINO is not available on every platform
    from model.export.openvino import best_precision

    path, smoothing, detector = graph_file(checkpoint.file, graph), checkpoint.metadata.smoothing, checkpoint.detector
    return [
        ServedModel(f"{graph}, {n}", graph_runner(path, n), known.temperature, smoothing, detector, known.threshold)
        for n in dict.fromkeys(("f32", best_precision(export.precisions)))
        if (known := export.precisions.get(n))
    ]
