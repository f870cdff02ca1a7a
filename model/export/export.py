"""Checkpoint → what the CPU engines load, written beside it.

    python -m model.export                                 the shipped checkpoint (make export)
    python -m model.export --checkpoint FILE --data DIR    one of your own, with what it was trained on

NAME.openvino.xml and .bin are the inference graph with a free batch size, NAME.openvino-int8.* the same in int8. A
.json beside each ties it to the checkpoint and says of each precision what the golden pictures must get and how
good it is on the validation pictures. int8 needs NNCF and the checkpoint's data; where either is missing it is left
out, and where it costs too much accuracy it is marked as not accepted.

A graph that is there already, made from the same tensors, pictures and tools, stays as it is, and so does what is known
of it: also of bf16, which not every CPU computes in. What is not at hand, data or NNCF, is taken to be unchanged. Only
the tie to the checkpoint is made anew. Delete a .json to have its graph rebuilt.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model import data
from model.calibrate import calibrate
from model.checkpoint import SHIPPED, Checkpoint, CheckpointError, graph_file
from model.data import DataError, Dataset
from model.export.manifest import Export, ExportError, Precision, sha256
from model.export.openvino import best_precision, compile_graph, ov
from model.googlenet import InferenceGraph, RawPixelGraph
from model.labels import probabilities
from model.predict import Outputs, Predictor, load_graph, serving_pixels
from model.preprocess import SIZE

GRAPHS = ("openvino", "openvino-int8")
SUFFIXES = (".xml", ".bin", ".json")

LOSS = 0.0010
"""What int8 may lose of the validation accuracy in single precision and still be accepted."""

BATCH = 50

VERSION = "2"
"""Of what is made of a checkpoint: to be raised when this file, one of the graphs, quantising or the fits change."""


def export(checkpoint: Checkpoint, dataset: Dataset | None) -> dict[str, Export]:
    """Writes the graphs and their descriptions, each file atomically; those of an earlier export go, if they differ.

    Without data no graph is quantised, and the validation accuracy of new ones is not known.
    """
    exports: dict[str, Export] = {}
    for graph in GRAPHS:
        made_from = _made_from(graph, checkpoint, dataset)
        earlier = _earlier(checkpoint, graph, made_from)
        if earlier is None:
            for suffix in reversed(SUFFIXES):  # the description first: what has none is not used
                graph_file(checkpoint.file, graph).with_suffix(suffix).unlink(missing_ok=True)
            if graph == "openvino-int8" and not {"data", "nncf"} <= made_from.keys():
                continue
            _save(_build(graph, checkpoint, dataset), graph_file(checkpoint.file, graph))
        reference = exports["openvino"].precisions["f32"].accuracy if exports else None
        exports[graph] = _write(graph, checkpoint, dataset, (reference or 0.0) - LOSS, made_from, earlier)
    return exports


def _made_from(graph: str, checkpoint: Checkpoint, dataset: Dataset | None) -> dict[str, str]:
    """What decides over a graph and over what it gives: tensors, pictures, and who converts them, if they are here."""
    made_from = {"version": VERSION, "checkpoint": checkpoint.serving_digest(), "openvino": ov.__version__}
    if graph == "openvino-int8" and importlib.util.find_spec("nncf"):
        made_from["nncf"] = importlib.metadata.version("nncf")
    if dataset is not None:
        digest = hashlib.sha256(json.dumps(dataset.checksums, sort_keys=True).encode())
        digest.update(serving_pixels(dataset.validation.pixels).numpy().tobytes())
        made_from["data"] = digest.hexdigest()
    return made_from


def _earlier(checkpoint: Checkpoint, graph: str, made_from: dict[str, str]) -> Export | None:
    """The export that is there, unless it would be another one now."""
    try:
        found = Export.read(checkpoint, graph)
        found.verify(graph_file(checkpoint.file, graph))
    except ExportError:
        return None
    return found if found.made_from.items() >= made_from.items() else None


def _build(graph: str, checkpoint: Checkpoint, dataset: Dataset | None) -> ov.Model:
    plain = load_graph(checkpoint)
    if graph == "openvino" or dataset is None:
        return _converted(plain)
    from model.export.quantise import calibration, quantise

    bytewise = RawPixelGraph(plain.network, checkpoint.metadata.mean, checkpoint.metadata.std).eval()
    return quantise(_converted(bytewise), serving_pixels(calibration(dataset.train)).numpy())


def _converted(graph: InferenceGraph) -> ov.Model:
    pixels = torch.zeros(2, SIZE, SIZE, dtype=torch.uint8)
    program = torch.export.export(graph, (pixels,), dynamic_shapes=({0: torch.export.Dim("n")},))
    model = ov.convert_model(program)
    model.reshape([-1, SIZE, SIZE])
    return model


def _save(model: ov.Model, target: Path) -> None:
    part = _part(target)
    ov.save_model(model, part, compress_to_fp16=True)
    for suffix in (".xml", ".bin"):
        os.replace(part.with_suffix(suffix), target.with_suffix(suffix))


def _part(target: Path) -> Path:
    return target.with_name("part-" + target.name)


def _write(
    graph: str,
    checkpoint: Checkpoint,
    dataset: Dataset | None,
    at_least: float,
    made_from: dict[str, str],
    earlier: Export | None,
) -> Export:
    """One graph's description: what is known of it, and the rest from what it gives."""
    target, known = graph_file(checkpoint.file, graph), earlier.precisions if earlier else {}
    wanted = {"f32"} if graph == "openvino-int8" else {"f32", best_precision()}  # int8 leaves next to nothing to bf16
    precisions = known | {
        precision: _describe(graph_runner(target, precision), checkpoint, dataset)
        for precision in sorted(wanted - known.keys())
    }
    description = Export(
        checkpoint=checkpoint.version,
        sha256={suffix: sha256(target.with_suffix(suffix)) for suffix in (".xml", ".bin")},
        precisions=precisions,
        accepted=all((each.accuracy or 0.0) >= at_least - 1e-9 for each in precisions.values()),
        made_from=(earlier.made_from if earlier else {}) | made_from,
    )
    part = _part(target).with_suffix(".json")
    part.write_text(json.dumps(asdict(description)) + "\n")
    os.replace(part, target.with_suffix(".json"))
    return description


def graph_runner(path: Path, precision: str) -> Predictor:
    """The exported graph over many pictures."""
    request = compile_graph(path, precision, threads=0).create_infer_request()

    def run(pixels: NDArray[np.uint8]) -> Outputs:
        logits, features = [], []
        for start in range(0, len(pixels), BATCH):
            request.infer([pixels[start : start + BATCH]], share_inputs=True)
            logits.append(request.get_output_tensor(0).data.copy())
            features.append(request.get_output_tensor(1).data.copy())
        return Outputs(np.concatenate(logits), np.concatenate(features))

    return run


def _describe(run: Predictor, checkpoint: Checkpoint, dataset: Dataset | None) -> Precision:
    """What belongs to one graph in one precision: everything that depends on its own logits and features."""
    metadata, accuracy, fitted = checkpoint.metadata, None, None
    if dataset is not None:
        outputs, labels = run(serving_pixels(dataset.validation.pixels).numpy()), dataset.validation.labels.numpy()
        accuracy = round(float((outputs.logits.argmax(1) == labels).mean()), 6)
        fitted = calibrate.fit(outputs, labels, metadata.smoothing, checkpoint.detector)
    fitted = fitted or calibrate.Fitted(metadata.temperature, metadata.threshold)
    golden = probabilities(run(checkpoint.golden.pixels).logits, fitted.temperature, metadata.smoothing)
    rows = [[round(float(p), 7) for p in row] for row in golden]
    return Precision(fitted.temperature, fitted.threshold, rows, accuracy)


def find_data(checkpoint: Checkpoint, directory: Path | None) -> Dataset:
    """The data in `directory`, else Fashion-MNIST if that is what it was trained on.

    Raises DataError where there is none, or of other classes.
    """
    if directory is None and checkpoint.metadata.training.get("data") != data.SHA256:
        raise DataError("name the pictures it was trained on by --data")
    dataset = data.load(directory)
    if dataset.classes != checkpoint.metadata.classes:
        raise DataError(f"the data has the classes {dataset.classes}, the checkpoint {checkpoint.metadata.classes}")
    return dataset


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="what it was trained on, if not Fashion-MNIST")
    arguments = parser.parse_args()
    missing = "NNCF is not installed: pip install nncf"
    try:
        checkpoint, dataset = Checkpoint.load(arguments.checkpoint), None
        dataset = find_data(checkpoint, arguments.data)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 1
    except DataError as error:
        missing = str(error)
    exports = export(checkpoint, dataset)
    for graph, description in exports.items():
        for precision, known in description.precisions.items():
            accuracy = "" if known.accuracy is None else f", validation accuracy {100 * known.accuracy:.2f} %"
            print(f"{graph_file(checkpoint.file, graph)}: golden answers in {precision}{accuracy}")
        if not description.accepted:
            print(f"{graph} loses more than {100 * LOSS:.2f} points: it only serves when asked for")
    if "openvino-int8" not in exports:
        print(f"no int8: {missing}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
