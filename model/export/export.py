"""Writes OpenVINO graphs of a checkpoint and their manifests; keeps earlier ones that are still up to date.

A graph is kept, with its precisions, if it was made from the same tensors, pictures and tools. The precisions include
bf16, which not every CPU can compute. Missing data and a missing NNCF count as unchanged.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from model.calibrate import calibrate
from model.checkpoint import Checkpoint, graph_file, replace_file
from model.data import Dataset
from model.export.manifest import Export, ExportError, Precision, sha256
from model.export.openvino import best_precision, compile_graph, ov
from model.googlenet import InferenceGraph, RawPixelGraph
from model.labels import probabilities
from model.predict import Outputs, Predictor, load_graph, serving_pixels
from model.preprocess import SIZE

GRAPHS = ("openvino", "openvino-int8")
SUFFIXES = (".xml", ".bin", ".json")

MAX_ACCURACY_LOSS = 0.0010
"""A graph is accepted if its validation accuracy is at most this fraction, or one picture, below single precision's."""

BATCH_SIZE = 50

VERSION = "2"
"""Version of the export. Raise it when this file, a graph's definition, quantisation or calibration changes."""


def export(checkpoint: Checkpoint, dataset: Dataset | None) -> dict[str, Export]:
    """Writes the graphs and their manifests, each file atomically, and deletes outdated ones.

    Without data no graph is quantised, and a new graph's manifest has no validation accuracy.
    """
    exports: dict[str, Export] = {}
    for graph in GRAPHS:
        made_from = _made_from(graph, checkpoint, dataset)
        earlier = _reusable_export(checkpoint, graph, made_from)
        if earlier is None:
            for suffix in reversed(SUFFIXES):  # the manifest first: engines ignore a graph that has none
                graph_file(checkpoint.file, graph).with_suffix(suffix).unlink(missing_ok=True)
            if graph == "openvino-int8" and not {"data", "nncf"} <= made_from.keys():
                continue
            _save_graph(_build(graph, checkpoint, dataset), graph_file(checkpoint.file, graph))
        reference = exports["openvino"].precisions["f32"].accuracy if exports else None
        one_picture = 1 / len(dataset.validation) if dataset else 0.0
        min_accuracy = (reference or 0.0) - max(MAX_ACCURACY_LOSS, one_picture)
        exports[graph] = _write_manifest(graph, checkpoint, dataset, min_accuracy, made_from, earlier)
    return exports


def _made_from(graph: str, checkpoint: Checkpoint, dataset: Dataset | None) -> dict[str, str]:
    """Versions and digests of everything that determines a graph and its manifest, as far as available here."""
    made_from = {"version": VERSION, "checkpoint": checkpoint.serving_digest(), "openvino": ov.__version__}
    if graph == "openvino-int8" and importlib.util.find_spec("nncf"):
        made_from["nncf"] = importlib.metadata.version("nncf")
    if dataset is not None:
        digest = hashlib.sha256(json.dumps(dataset.checksums, sort_keys=True).encode())
        digest.update(serving_pixels(dataset.validation.pixels).numpy().tobytes())
        made_from["data"] = digest.hexdigest()
    return made_from


def _reusable_export(checkpoint: Checkpoint, graph: str, made_from: dict[str, str]) -> Export | None:
    """The earlier export if it is intact and was made from the same things; otherwise None."""
    try:
        found = Export.read(checkpoint, graph)
        found.verify(graph_file(checkpoint.file, graph))
    except ExportError:
        return None
    return found if found.made_from.items() >= made_from.items() else None


def _build(graph: str, checkpoint: Checkpoint, dataset: Dataset | None) -> ov.Model:
    inference_graph = load_graph(checkpoint)
    if graph == "openvino" or dataset is None:
        return _to_openvino(inference_graph)
    from model.export.quantise import calibration_pictures, quantise  # here: NNCF is optional

    bytes_graph = RawPixelGraph(inference_graph.network, checkpoint.metadata.mean, checkpoint.metadata.std).eval()
    return quantise(_to_openvino(bytes_graph), serving_pixels(calibration_pictures(dataset.train)).numpy())


def _to_openvino(graph: InferenceGraph) -> ov.Model:
    pixels = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8)
    program = torch.export.export(graph, (pixels,), dynamic_shapes=({0: torch.export.Dim("n")},))
    model = ov.convert_model(program)
    model.reshape([-1, SIZE, SIZE])
    return model


def _save_graph(model: ov.Model, target: Path) -> None:
    with TemporaryDirectory() as folder:
        written = Path(folder, target.name)
        ov.save_model(model, written, compress_to_fp16=True)
        for suffix in (".xml", ".bin"):
            replace_file(target.with_suffix(suffix), written.with_suffix(suffix).read_bytes())


def _write_manifest(
    graph: str,
    checkpoint: Checkpoint,
    dataset: Dataset | None,
    min_accuracy: float,
    made_from: dict[str, str],
    earlier: Export | None,
) -> Export:
    """Writes a graph's manifest: the earlier one's precisions, and those measured now on this CPU."""
    target, known = graph_file(checkpoint.file, graph), earlier.precisions if earlier else {}
    needed = {"f32"} if graph == "openvino-int8" else {"f32", best_precision()}  # int8 has almost no float layers left
    precisions = known | {
        precision: _measure_precision(graph_runner(target, precision), checkpoint, dataset)
        for precision in sorted(needed - known.keys())
    }
    accurate = all((each.accuracy or 0.0) >= min_accuracy - 1e-6 for each in precisions.values())  # they are rounded
    manifest = Export(
        checkpoint=checkpoint.version,
        sha256={suffix: sha256(target.with_suffix(suffix)) for suffix in (".xml", ".bin")},
        precisions=precisions,
        accepted=earlier.accepted if earlier and dataset is None else accurate,
        made_from=(earlier.made_from if earlier else {}) | made_from,
    )
    replace_file(target.with_suffix(".json"), (json.dumps(asdict(manifest)) + "\n").encode())
    return manifest


def graph_runner(path: Path, precision: str) -> Predictor:
    """A function that runs the exported graph on uint8 [n,96,96], in batches."""
    request = compile_graph(path, precision, threads=0).create_infer_request()

    def run(pixels: NDArray[np.uint8]) -> Outputs:
        logits, features = [], []
        for start in range(0, len(pixels), BATCH_SIZE):
            request.infer([pixels[start : start + BATCH_SIZE]], share_inputs=True)
            logits.append(request.get_output_tensor(0).data.copy())
            features.append(request.get_output_tensor(1).data.copy())
        return Outputs(np.concatenate(logits), np.concatenate(features))

    return run


def _measure_precision(run: Predictor, checkpoint: Checkpoint, dataset: Dataset | None) -> Precision:
    """Calibrates and measures one graph in one precision; without data it takes over the checkpoint's calibration."""
    metadata, accuracy, fitted = checkpoint.metadata, None, None
    if dataset is not None:
        outputs, labels = run(serving_pixels(dataset.validation.pixels).numpy()), dataset.validation.labels.numpy()
        accuracy = round(float((outputs.logits.argmax(1) == labels).mean()), 6)
        fitted = calibrate.fit_calibration(outputs, labels, metadata.smoothing, checkpoint.detector)
    fitted = fitted or calibrate.Calibration(metadata.temperature, metadata.threshold)
    golden = probabilities(run(checkpoint.golden.pixels).logits, fitted.temperature, metadata.smoothing)
    rows = [[round(float(p), 7) for p in row] for row in golden]
    return Precision(fitted.temperature, fitted.threshold, rows, accuracy)
