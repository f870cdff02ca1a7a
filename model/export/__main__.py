"""Exports a checkpoint for the CPU: writes OpenVINO graphs beside it, in floating point and in int8.

    python -m model.export                                 the shipped checkpoint (make export)
    python -m model.export --checkpoint FILE --data DIR    your own checkpoint and its training data
    python -m model.export --onnx [--out FILE]             one ONNX file for other servers, and nothing else

NAME.openvino.xml and .bin hold the inference graph with a free batch size, NAME.openvino-int8.* the same graph in int8.
The .json beside each is its manifest: the checkpoint's digest and, for each precision, the calibration, the golden
probabilities and the validation accuracy. int8 needs NNCF and the training data; without them it is not exported. If
it loses too much accuracy, its manifest says that it is not accepted.

A graph that is still up to date is kept. Delete its .json to rebuild it.
"""

import argparse
import sys
from pathlib import Path

from model import data
from model.calibrate.calibrate import check_data
from model.checkpoint import SHIPPED, Checkpoint, CheckpointError, graph_file
from model.data import DataError, Dataset
from model.export.export import export


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the training data, if it is not Fashion-MNIST")
    parser.add_argument("--onnx", action="store_true", help="write an ONNX file instead of OpenVINO's graphs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the ONNX file; beside the checkpoint by default")
    arguments = parser.parse_args()
    if arguments.out and not arguments.onnx:
        parser.error("--out is for --onnx: the engines look for OpenVINO's graphs beside the checkpoint")
    missing = "NNCF is not installed: pip install nncf"
    try:
        checkpoint, dataset = Checkpoint.load(arguments.checkpoint), None
        if arguments.onnx:
            return write_onnx(checkpoint, arguments.out)
        dataset = find_training_data(checkpoint, arguments.data)
    except (CheckpointError, DataError) as error:
        if isinstance(error, CheckpointError) or arguments.data:
            print(error, file=sys.stderr)
            return 1
        missing = str(error)
    exports = export(checkpoint, dataset)
    for graph, manifest in exports.items():
        for precision, known in manifest.precisions.items():
            accuracy = "" if known.accuracy is None else f", validation accuracy {100 * known.accuracy:.2f} %"
            print(f"{graph_file(checkpoint.file, graph)}: golden answers in {precision}{accuracy}")
        if not manifest.accepted:
            print(f"{graph} loses too much accuracy: it only serves when asked for")
    if "openvino-int8" not in exports:
        print(f"no int8: {missing}")
    return 0


def write_onnx(checkpoint: Checkpoint, target: Path | None) -> int:
    """Writes the ONNX file and says where. Returns the exit status."""
    try:
        from model.export.onnx import export_onnx, onnx_file  # here: ONNX is optional
    except ImportError as error:
        print(f"{error.name} is not installed: pip install onnx onnxscript", file=sys.stderr)
        return 1
    target = target or onnx_file(checkpoint.file)
    export_onnx(checkpoint, target)
    print(f"{target}: {target.stat().st_size / 1e6:.0f} MB")
    return 0


def find_training_data(checkpoint: Checkpoint, directory: Path | None) -> Dataset:
    """The data in `directory`, or without one Fashion-MNIST if the checkpoint was trained on it.

    Raises DataError if there is no data or if the checkpoint was trained on other data.
    """
    if directory is None and checkpoint.metadata.training.get("data") != data.SHA256:
        raise DataError("name the pictures it was trained on by --data")
    dataset = data.load(directory)
    check_data(checkpoint, dataset)
    return dataset


if __name__ == "__main__":
    sys.exit(main())
