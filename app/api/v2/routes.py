"""The Open Inference Protocol v2, as Triton and KServe speak it: /v2/…"""

import asyncio
import importlib.metadata
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.api.disconnect import while_connected
from app.api.openapi import INDEX, INFER, INFER_VERSION, MODEL, MODELS, VERSION, protocol_errors
from app.api.service import Service, stuck
from app.api.upload.body import read_body
from app.api.upload.content_encoding import compress, decompress
from app.api.upload.json_body import INLINE_BYTES
from app.api.v2.responses import Writer
from app.api.v2.statistics import statistics
from app.api.v2.tensors import HEADER_LENGTH, INPUTS, OUTPUTS, InferRequest, parse, parse_json
from app.errors import InvalidRequest, UnknownModel

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "statistics"]
"""Triton's, as far as they are here whole."""

ANY_VERSION = "1"
"""What clients that insist on a number may call the only version there is."""

PLATFORMS = {"openvino": "openvino_ir", "openvino-int8": "openvino_ir"}
"""By engine, <project>_<format>; the others compute from the checkpoint in torch."""

api = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])


@api.get("", summary="Name, version and extensions of the server", responses=protocol_errors(401))
async def server() -> dict[str, Any]:
    version = importlib.metadata.version("fashion-googlenet")
    return {"name": "fashion-googlenet", "version": version, "extensions": EXTENSIONS}


@api.get("/health/live", summary="Does the process run?", responses=protocol_errors(503))
async def live(request: Request) -> JSONResponse:
    """As /health/live."""
    dead = stuck(request)
    return JSONResponse({"live": not dead}, 503 if dead else 200)


@api.get("/health/ready", summary="Does it classify?", responses=protocol_errors(503))
async def ready(request: Request) -> JSONResponse:
    """As /health/ready. Both fields, for the specification says `live` and KServe's client reads `ready`."""
    failed = bool(await Service.of(request).reason(request))
    body = {"live": not stuck(request), "ready": not failed}
    return JSONResponse(body, 503 if failed else 200, {"Cache-Control": "no-store"})


@api.get("/models/stats", summary="Statistics of all models, of which there is one", **MODELS)
@api.get("/models/{name}/stats", summary="Triton's statistics", **MODEL)
@api.get("/models/{name}/versions/{version}/stats", summary="Triton's statistics", **VERSION)
async def stats(request: Request) -> dict[str, Any]:
    """Of every route, /predict included, and every worker; what is not measured is 0."""
    model = _Model(request)
    return {"model_stats": [statistics(model.service.classifier.metrics, model.name, model.version)]}


@api.get("/models/{name}", summary="The model's inputs and outputs", **MODEL)
@api.get("/models/{name}/versions/{version}", summary="The model's inputs and outputs", **VERSION)
async def metadata(request: Request) -> dict[str, Any]:
    model = _Model(request)
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": model.platform,
        "inputs": [{"name": n, "datatype": type_, "shape": [-1, *picture]} for n, (type_, picture) in INPUTS.items()],
        "outputs": [{"name": n, "datatype": type_, "shape": shape} for n, type_, shape in model.outputs()],
    }


@api.get("/models/{name}/ready", summary="Does the model answer?", **MODEL)
@api.get("/models/{name}/versions/{version}/ready", summary="Does the model answer?", **VERSION)
async def model_ready(request: Request) -> JSONResponse:
    model = _Model(request)
    failed = bool(await model.service.reason(request))
    return JSONResponse(
        {"name": model.name, "ready": not failed}, 503 if failed else 200, {"Cache-Control": "no-store"}
    )


@api.get("/models/{name}/config", summary="Triton's model configuration", **MODEL)
@api.get("/models/{name}/versions/{version}/config", summary="Triton's model configuration", **VERSION)
async def config(request: Request) -> dict[str, Any]:
    """max_batch_size is 0, for the first dimension is part of the shapes; batches are formed all the same."""
    model = _Model(request)
    engine = model.service.classifier.engine
    types = {"BYTES": "TYPE_STRING", "UINT8": "TYPE_UINT8", "FP32": "TYPE_FP32"}
    told = {"precision": engine.precision, "largest_batch": str(model.service.classifier.batcher.max_batch_size)}
    inputs = [(name, datatype, [-1, *picture]) for name, (datatype, picture) in INPUTS.items()]
    return {
        "name": model.name,
        "platform": model.platform,
        "backend": engine.name,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [{"name": n, "data_type": types[t], "dims": dims, "optional": True} for n, t, dims in inputs],
        "output": [{"name": n, "data_type": types[t], "dims": dims} for n, t, dims in model.outputs()],
        "instance_group": [{"kind": "KIND_GPU" if engine.device.startswith("cuda") else "KIND_CPU", "count": 1}],
        "parameters": {key: {"string_value": value} for key, value in told.items()},
    }


@api.post("/repository/index", summary="The models there are, of which there is one", **INDEX)
async def index(request: Request) -> list[dict[str, str]]:
    model = _Model(request)
    settings = model.service.settings
    chunks = await read_body(request, limit=INLINE_BYTES, timeout=settings.body_timeout)
    only_ready = parse_json(bytearray().join(chunks)).get("ready", False)
    if not isinstance(only_ready, bool):
        raise InvalidRequest("ready is not a boolean")
    reason = await model.service.reason(request)
    if reason and only_ready:
        return []
    state = "UNAVAILABLE" if reason else "READY"
    return [{"name": model.name, "version": model.version, "state": state, "reason": reason or ""}]


@api.post("/models/{name}/infer", summary="Classify pictures", **INFER)
@api.post("/models/{name}/versions/{version}/infer", summary="Classify pictures", **INFER_VERSION)
async def infer(request: Request) -> Response:
    """Inputs `image` BYTES [n] (files; base64 in JSON) and `pixels` UINT8 [n,96,96]; outputs `probabilities` and
    `logits` FP32 [n,classes] and `label` BYTES [n]. All pictures are answered, or none."""
    model = _Model(request)
    classifier = model.service.classifier
    asked = await _parsed(request, model.service)
    async with while_connected(request):
        scores = await classifier.score(asked.tensors)
        if len({score.version for score in scores}) > 1:  # another took over between two batches: let it answer all
            scores = await classifier.score(asked.tensors)
    version = scores[0].version[:12]
    body, headers = Writer(asked, model.name, version, classifier.checkpoint.metadata.classes)(scores)
    body, encoded = compress(body, request.headers.get("accept-encoding", ""))
    return Response(body, headers=headers | encoded)


class _Model:
    """The model that is served. Raises NotReady, or UnknownModel if the path names another, or another version."""

    def __init__(self, request: Request) -> None:
        self.service = Service.of(request)
        self.name = self.service.classifier.checkpoint.metadata.name
        self.version = self.service.classifier.checkpoint.version[:12]
        self.platform = PLATFORMS.get(self.service.classifier.engine.name, "pytorch_safetensors")
        name, version = (request.path_params.get(key) for key in ("name", "version"))
        if name not in (None, self.name):
            raise UnknownModel(f"there is no model {name[:60]!r}; there is {self.name}")
        if version not in (None, self.version, ANY_VERSION):
            raise UnknownModel(f"there is no version {version[:60]!r} of {self.name}; there is {self.version}")

    def outputs(self) -> list[tuple[str, str, list[int]]]:
        """Name, datatype, shape."""
        classes = len(self.service.classifier.checkpoint.metadata.classes)
        return [(name, "BYTES", [-1]) if name == "label" else (name, "FP32", [-1, classes]) for name in OUTPUTS]


async def _parsed(request: Request, service: Service) -> InferRequest:
    settings = service.settings
    chunks = await read_body(request, limit=settings.max_upload_bytes, timeout=settings.body_timeout)
    body = bytearray().join(chunks)  # not bytes: the engines want memory that could be written to
    encoding, header_length = request.headers.get("content-encoding"), request.headers.get(HEADER_LENGTH)
    if encoding:
        body = await asyncio.to_thread(decompress, body, encoding, settings.max_upload_bytes)
        request.state.uploads.add(request.scope, len(body))
    limit = service.classifier.admission.limit
    json_bytes = int(header_length[:12]) if header_length and header_length.isdecimal() else len(body)
    if json_bytes <= INLINE_BYTES:
        return parse(body, header_length, limit)
    async with service.parsing:
        return await asyncio.to_thread(parse, body, header_length, limit)
