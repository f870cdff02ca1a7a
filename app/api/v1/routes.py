"""/v1/…: the routes of the v1 prediction protocol, which clients of TensorFlow Serving and KServe use."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import to_json

from app.api import schemas
from app.api.disconnect import cancel_on_disconnect
from app.api.openapi import model_routes, protocol_errors
from app.api.predict import check_top_k, prediction_fields
from app.api.service import ANY_VERSION, Service
from app.api.upload.body import read_body
from app.api.upload.memory_budget import UploadBudget
from app.api.upload.pictures import TEXT_SCALE
from app.api.v1.instances import KEY, Instance, parse_predict_request
from app.api.v1.openapi import PREDICT_BODY, PREDICTIONS
from app.asgi import LOG_FIELDS
from app.errors import NotReady, ServiceError
from app.inference.classifier import Prediction

PREDICT_ERRORS = protocol_errors(400, 401, 404, 408, 413, 503, 504)

router = APIRouter(prefix="/v1", tags=["Prediction protocol v1"])


@model_routes(router, "POST", ":predict", "Classify pictures", PREDICTIONS | PREDICT_ERRORS, PREDICT_BODY)
async def predict(request: Request, options: Annotated[schemas.Options, Query()]) -> Response:
    """Each instance is a picture: its file in base64, or 28×28 or 96×96 numbers. All are answered, or none."""
    service = Service.from_request(request)
    service.check_model(request.path_params.get("name"), request.path_params.get("version"))
    instances, options = await _read_instances(request, service)
    classifier, metadata = service.classifier, service.classifier.checkpoint.metadata
    check_top_k(options.top_k, metadata)
    pictures = [instance.picture for instance in instances]
    with cancel_on_disconnect(request):
        results = await classifier.classify_many(pictures, options.mode, options.background, options.rotation)
    request.scope[LOG_FIELDS] = {"pictures": len(results)}
    entries: list[dict[str, Any]] = []
    for i, (instance, result) in enumerate(zip(instances, results, strict=True)):
        prediction = _prediction_or_raise(i, result)
        key = {} if instance.key is None else {KEY: instance.key}
        entries.append(prediction_fields(prediction, metadata, options.top_k) | key)
    return Response(to_json({"predictions": entries}), media_type="application/json")


@router.get("/models", summary="All models; there is one", responses=protocol_errors(401, 503))
async def models(request: Request) -> dict[str, list[str]]:
    """As KServe answers."""
    return {"models": [Service.from_request(request).classifier.checkpoint.metadata.name]}


@model_routes(router, "GET", "", "Does the model answer?", protocol_errors(404, 503))
async def model_ready(request: Request) -> JSONResponse:
    """As /health, with the fields of KServe and of TensorFlow Serving. 503 if the model does not answer."""
    service = Service.from_request(request)
    service.check_model(request.path_params.get("name"), request.path_params.get("version"))
    if reason := await service.unready_reason(request):
        raise NotReady(reason)
    version = {
        "version": ANY_VERSION,
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    name = service.classifier.checkpoint.metadata.name
    body = {"name": name, "ready": True, "model_version_status": [version]}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


async def _read_instances(request: Request, service: Service) -> tuple[list[Instance], schemas.Options]:
    settings = service.settings
    limit = int(settings.max_upload_bytes * TEXT_SCALE)
    body = b"".join(await read_body(request, limit=limit, timeout=settings.body_timeout))
    uploads: UploadBudget = request.state.uploads
    return await uploads.parse(len(body), parse_predict_request, body, request, settings.max_upload_bytes)


def _prediction_or_raise(index: int, result: Prediction | ServiceError) -> Prediction:
    """Raises the error of an instance without an answer. It names the instance if the instance is the cause."""
    if isinstance(result, ServiceError):
        if result.status < 500:
            result.detail = f"instances[{index}]: {result.detail}"
        raise result
    return result
