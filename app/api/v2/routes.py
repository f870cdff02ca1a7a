"""/v2/…: the routes of the Open Inference Protocol v2, which clients of Triton and KServe use."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from app.api.disconnect import cancel_on_disconnect
from app.api.openapi import model_routes, protocol_errors
from app.api.service import Service, is_stuck
from app.api.upload.body import read_body
from app.api.upload.content_encoding import compress
from app.api.upload.json_body import INLINE_BYTES, parse_object
from app.api.upload.memory_budget import UploadBudget
from app.api.v2.model import ServedModel, score_with_one_version, server_metadata
from app.api.v2.openapi import INDEX_BODY, INFER_BODY
from app.api.v2.responses import encode_response
from app.api.v2.tensors import HEADER_LENGTH, InferRequest, parse_infer_request
from app.errors import InvalidRequest
from app.settings import Settings

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "statistics"]
"""Triton's extensions that are completely supported."""

MODEL_ERRORS = protocol_errors(401, 404, 503)
INFER_ERRORS = protocol_errors(400, 401, 404, 408, 413, 503, 504)

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])


@router.get("", summary="Name, version and extensions of the server", responses=protocol_errors(401))
async def server() -> dict[str, Any]:
    return server_metadata(EXTENSIONS)


@router.get("/health/live", summary="Does the process run?", responses=protocol_errors(503))
async def live(request: Request) -> JSONResponse:
    """As /health/live."""
    stuck = is_stuck(request)
    return JSONResponse({"live": not stuck}, 503 if stuck else 200)


@router.get("/health/ready", summary="Does it classify?", responses=protocol_errors(503))
async def ready(request: Request) -> JSONResponse:
    """As /health/ready. Has both fields: the specification says `live`, KServe's client reads `ready`."""
    is_ready = await Service.from_request(request).unready_reason(request) is None
    body = {"live": not is_stuck(request), "ready": is_ready}
    return JSONResponse(body, 200 if is_ready else 503, {"Cache-Control": "no-store"})


@router.get("/models/stats", summary="Statistics of all models; there is one", responses=protocol_errors(401, 503))
@model_routes(router, "GET", "/stats", "Triton's statistics", MODEL_ERRORS)
async def stats(request: Request) -> dict[str, Any]:
    """The sums over all workers and all routes, /predict included. What is not measured is 0."""
    return _model(request).statistics()


@model_routes(router, "GET", "", "The model's inputs and outputs", MODEL_ERRORS)
async def metadata(request: Request) -> dict[str, Any]:
    return _model(request).metadata()


@model_routes(router, "GET", "/ready", "Does the model answer?", MODEL_ERRORS)
async def model_ready(request: Request) -> JSONResponse:
    model = _model(request)
    is_ready = await model.service.unready_reason(request) is None
    body = {"name": model.name, "ready": is_ready}
    return JSONResponse(body, 200 if is_ready else 503, {"Cache-Control": "no-store"})


@model_routes(router, "GET", "/config", "Triton's model configuration", MODEL_ERRORS)
async def config(request: Request) -> dict[str, Any]:
    """max_batch_size is 0 because the shapes include the batch dimension. Requests are batched nevertheless."""
    return _model(request).config()


@router.post(
    "/repository/index",
    summary="All models; there is one",
    responses=protocol_errors(400, 401, 408, 413, 503),
    openapi_extra={"requestBody": INDEX_BODY},
)
async def index(request: Request) -> list[dict[str, str]]:
    model = _model(request)
    timeout = model.service.settings.body_timeout
    body = b"".join(await read_body(request, limit=INLINE_BYTES, timeout=timeout))
    only_ready = parse_object(body).get("ready", False) if body else False
    if not isinstance(only_ready, bool):
        raise InvalidRequest("ready is not a boolean")
    return model.index(await model.service.unready_reason(request), only_ready=only_ready)


@model_routes(router, "POST", "/infer", "Classify pictures", INFER_ERRORS, INFER_BODY)
async def infer(request: Request) -> Response:
    """Inputs `image` BYTES [n] (files; base64 in JSON) and `pixels` UINT8 [n,96,96]; outputs `probabilities` and
    `logits` FP32 [n,classes] and `label` BYTES [n]. All pictures are answered, or none."""
    model = _model(request)
    classifier = model.service.classifier
    infer_request = await _read_infer_request(request, model.service.settings)
    with cancel_on_disconnect(request):
        scores = await score_with_one_version(classifier, infer_request.tensors)
    version, classes = scores[0].version[:12], classifier.checkpoint.metadata.classes
    body, headers = encode_response(infer_request, model.name, version, classes, scores)
    body, encoding_headers = compress(body, request.headers.get("accept-encoding", ""))
    return Response(body, headers=headers | encoding_headers)


def _model(request: Request) -> ServedModel:
    """Raises NotReady, or UnknownModel if the path names another model or version."""
    path = request.path_params
    return ServedModel(Service.from_request(request), path.get("name"), path.get("version"))


async def _read_infer_request(request: Request, settings: Settings) -> InferRequest:
    chunks = await read_body(request, limit=settings.max_upload_bytes, timeout=settings.body_timeout)
    body = bytearray().join(chunks)  # not bytes: the engines need memory that they could write to
    header_length = request.headers.get(HEADER_LENGTH)
    json_bytes = int(header_length[:12]) if header_length and header_length.isdecimal() else len(body)
    uploads: UploadBudget = request.state.uploads
    return await uploads.parse(json_bytes, parse_infer_request, body, header_length, settings.queue_size)
