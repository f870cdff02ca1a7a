"""A checkpoint as the service answers with it: each export in each precision, with the calibration fitted to it."""

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


class Predictions(NamedTuple):
    """The service's answers for n pictures."""

    probabilities: NDArray[np.float32]
    """[n,classes]."""
    flagged: NDArray[np.bool_] | None
    """[n], whether it is called out of distribution; None without a detector."""
    clear_scores: NDArray[np.float32] | None
    """[n], the out-of-distribution score of a picture that is clearly a garment, else inf; None without a detector."""


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
        scores = self.detector.score(*outputs)
        clear = clearly_known(found, scores, self.threshold)
        return Predictions(found, scores > self.threshold, np.where(clear, scores, np.float32(np.inf)))

    def correct_quarter_turns(self, pixels: NDArray[np.uint8], predictions: Predictions) -> Predictions:
        """Retries flagged pictures, uint8 [n,96,96], in their three other quarter turns, as the service does.

        A turn replaces the prediction if the picture is then clearly a garment; the lowest score wins.
        """
        if predictions.flagged is None or not predictions.flagged.any():
            return predictions
        (retried,) = predictions.flagged.nonzero()
        turned = [np.ascontiguousarray(np.rot90(pixels[retried], k, (1, 2))) for k in (1, 2, 3)]
        turns = [self.predictions(self.run(pictures)) for pictures in turned]
        scores = np.stack([turn.clear_scores for turn in turns if turn.clear_scores is not None])
        best, accepted = scores.argmin(0), np.isfinite(scores.min(0))
        found, flagged = predictions.probabilities.copy(), predictions.flagged.copy()
        chosen = np.stack([turn.probabilities for turn in turns])[best, np.arange(len(retried))]
        found[retried[accepted]], flagged[retried[accepted]] = chosen[accepted], False
        return Predictions(found, flagged, predictions.clear_scores)


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
