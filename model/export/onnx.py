"""Exports a checkpoint to one ONNX file, for servers and runtimes other than this project's.

The graph is model.googlenet's RawPixelGraph: it takes pixels as they are, and contains the normalisation. What else is
needed to get probabilities from its logits is in the file's metadata. Needs onnx and onnxscript (the extra `onnx`).
"""

import json
from pathlib import Path
from typing import cast

import onnx
import torch

from model.checkpoint import Checkpoint, replace_file
from model.googlenet import RawPixelGraph
from model.predict import load_graph
from model.preprocess import SIZE

OPSET = 18
"""Version of ONNX's operators: the lowest that torch's exporter writes, so that older runtimes read the file too."""

INPUT, OUTPUTS = "pixels", ("logits", "features", "maps")


def onnx_file(checkpoint_file: Path) -> Path:
    """Where a checkpoint's ONNX file is written by default."""
    return checkpoint_file.with_suffix(".onnx")


def export_onnx(checkpoint: Checkpoint, target: Path) -> None:
    """Writes the file atomically. Input and outputs are RawPixelGraph's, for any batch size."""
    model = _to_onnx(checkpoint)
    onnx.helper.set_model_props(model, _properties(checkpoint))
    onnx.checker.check_model(model, full_check=True)
    replace_file(target, model.SerializeToString())


def _to_onnx(checkpoint: Checkpoint) -> onnx.ModelProto:
    network, metadata = load_graph(checkpoint).network, checkpoint.metadata
    graph = RawPixelGraph(network, metadata.mean, metadata.std).eval()
    program = cast(
        torch.onnx.ONNXProgram,
        torch.onnx.export(
            graph,
            (torch.zeros(2, SIZE, SIZE, dtype=torch.uint8),),
            input_names=[INPUT],
            output_names=OUTPUTS,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        ),
    )
    model = program.model_proto
    _remove_notes(model.graph)
    return model


def _remove_notes(graph: onnx.GraphProto) -> None:
    """Removes what the exporter notes about each part for debugging, such as paths of this machine."""
    graph.ClearField("metadata_props")
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")


def _properties(checkpoint: Checkpoint) -> dict[str, str]:
    """Everything that model.labels.probabilities and the preprocessing need to know, as strings."""
    metadata = checkpoint.metadata
    return {
        "name": metadata.name,
        "version": checkpoint.version,
        "opset": str(OPSET),
        "classes": json.dumps(metadata.classes, ensure_ascii=False),
        "temperature": repr(metadata.temperature),
        "smoothing": repr(metadata.smoothing),
        "preprocessing": str(metadata.preprocessing),
    }
