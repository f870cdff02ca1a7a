"""The served model as the Open Inference Protocol v2 describes it, for HTTP and gRPC.

The dictionaries have the field names of the protocol's JSON, which are also those of its protobuf messages.
"""

import importlib.metadata
from typing import Any

from app.api.service import Service
from app.api.v2.statistics import statistics
from app.api.v2.tensors import INPUTS, OUTPUTS, Tensor
from app.inference.classifier import Classifier
from app.inference.scores import Scores

PLATFORMS = {"openvino": "openvino_ir", "openvino-int8": "openvino_ir"}
"""Engine → <project>_<format>. The other engines run the checkpoint in torch."""

CONFIG_TYPES = {"BYTES": "TYPE_STRING", "UINT8": "TYPE_UINT8", "FP32": "TYPE_FP32"}
"""Datatype → its name in Triton's model configuration."""


class ServedModel:
    """Raises UnknownModel if `name` or `version` is given and is another model's or version's."""

    def __init__(self, service: Service, name: str | None = None, version: str | None = None) -> None:
        self.service = service
        self.name = service.classifier.checkpoint.metadata.name
        self.version = service.classifier.checkpoint.version[:12]
        service.check_model(name, version)

    def metadata(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": self._platform(),
            "inputs": [{"name": n, "datatype": t, "shape": shape} for n, t, shape in self._inputs()],
            "outputs": [{"name": n, "datatype": t, "shape": shape} for n, t, shape in self._outputs()],
        }

    def config(self) -> dict[str, Any]:
        """max_batch_size is 0 because the shapes include the batch dimension. Requests are batched nevertheless."""
        engine, batcher = self.service.classifier.engine, self.service.classifier.batcher
        types = CONFIG_TYPES
        parameters = {"precision": engine.precision, "largest_batch": str(batcher.max_batch_size)}
        return {
            "name": self.name,
            "platform": self._platform(),
            "backend": engine.name,
            "version_policy": {"latest": {"num_versions": 1}},
            "max_batch_size": 0,
            "input": [{"name": n, "data_type": types[t], "dims": d, "optional": True} for n, t, d in self._inputs()],
            "output": [{"name": n, "data_type": types[t], "dims": d} for n, t, d in self._outputs()],
            "instance_group": [{"kind": "KIND_GPU" if engine.device.startswith("cuda") else "KIND_CPU", "count": 1}],
            "parameters": {key: {"string_value": value} for key, value in parameters.items()},
        }

    def statistics(self) -> dict[str, Any]:
        """The sums over all workers and all routes, /predict included. What is not measured is 0."""
        return {"model_stats": [statistics(self.service.classifier.metrics, self.name, self.version)]}

    def index(self, unready_reason: str | None, *, only_ready: bool) -> list[dict[str, str]]:
        """The elements of the repository index."""
        if unready_reason and only_ready:
            return []
        state = "UNAVAILABLE" if unready_reason else "READY"
        return [{"name": self.name, "version": self.version, "state": state, "reason": unready_reason or ""}]

    def _platform(self) -> str:
        return PLATFORMS.get(self.service.classifier.engine.name, "pytorch_safetensors")

    def _inputs(self) -> list[tuple[str, str, list[int]]]:
        """Name, datatype and shape of each."""
        return [(name, datatype, [-1, *shape]) for name, (datatype, shape) in INPUTS.items()]

    def _outputs(self) -> list[tuple[str, str, list[int]]]:
        """Name, datatype and shape of each."""
        classes = len(self.service.classifier.checkpoint.metadata.classes)
        return [(name, "BYTES", [-1]) if name == "label" else (name, "FP32", [-1, classes]) for name in OUTPUTS]


def server_metadata(extensions: list[str]) -> dict[str, Any]:
    """`extensions` are Triton's that are completely supported."""
    version = importlib.metadata.version("fashion-googlenet")
    return {"name": "fashion-googlenet", "version": version, "extensions": extensions}


async def score_with_one_version(classifier: Classifier, tensors: list[Tensor]) -> list[Scores]:
    """As Classifier.score, and computed again if the checkpoint was replaced between two batches of the request."""
    scores = await classifier.score(tensors)
    if len({score.version for score in scores}) > 1:
        scores = await classifier.score(tensors)
    return scores
