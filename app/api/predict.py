"""POST /predict and /predict/batch: pictures in, class probabilities out."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from app.api import schemas
from app.api.disconnect import cancel_on_disconnect
from app.api.openapi import MANY_PICTURES, ONE_PICTURE, problem_responses
from app.api.problems import problem
from app.api.service import Service
from app.api.upload.pictures import read_pictures
from app.asgi import LOG_FIELDS
from app.errors import InvalidParameter, ServiceError
from app.images.decode import picture_format
from app.inference.classifier import Prediction
from app.settings import MAX_PICTURES
from model.checkpoint import Metadata

PROBLEMS = problem_responses(400, 401, 408, 413, 415, 422, 503, 504)

router = APIRouter(tags=["Classification"])


@router.post(
    "/predict",
    summary="Classify one picture",
    response_model=schemas.Prediction,
    responses=PROBLEMS,
    openapi_extra=ONE_PICTURE,
)
async def predict(request: Request, options: Annotated[schemas.Options, Query()]) -> Response:
    """The probability of every class for one picture of a garment."""
    _, body = await classify_one(request, options)
    return timed_response(body)


async def classify_one(request: Request, options: schemas.Options) -> tuple[Prediction, dict[str, Any]]:
    """The prediction for the picture in the request, also as the fields of schemas.Prediction. Raises ServiceError."""
    classifier = Service.from_request(request).classifier
    (picture,), options = await read_pictures(request, options, max_pictures=1)
    metadata = classifier.checkpoint.metadata
    check_top_k(options.top_k, metadata)
    with cancel_on_disconnect(request):
        prediction = await classifier.classify(picture, options.mode, options.background, options.rotation)
    body = prediction_fields(prediction, metadata, options.top_k)
    request.scope[LOG_FIELDS] = {
        "format": picture_format(picture),
        "label": body["label"],
        "batch_size": body["batch_size"],
        **body["timing_ms"],
    }
    return prediction, body


@router.post(
    "/predict/batch",
    summary=f"Classify up to {MAX_PICTURES} pictures",
    response_model=schemas.Predictions,
    responses=PROBLEMS,
    openapi_extra=MANY_PICTURES,
)
async def predict_batch(request: Request, options: Annotated[schemas.Options, Query()]) -> Response:
    """One entry for each picture, in order. An unusable picture gets an error as its entry; the others succeed."""
    classifier = Service.from_request(request).classifier
    pictures, options = await read_pictures(request, options, MAX_PICTURES)
    metadata = classifier.checkpoint.metadata
    check_top_k(options.top_k, metadata)
    with cancel_on_disconnect(request):
        results = await classifier.classify_many(pictures, options.mode, options.background, options.rotation)
    request.scope[LOG_FIELDS] = {"pictures": len(results)}
    entries = [
        {"error": problem(result)}
        if isinstance(result, ServiceError)
        else prediction_fields(result, metadata, options.top_k)
        for result in results
    ]
    return Response(to_json({"predictions": entries}), media_type="application/json")


def check_top_k(top_k: int | None, metadata: Metadata) -> None:
    """Raises InvalidParameter if there are fewer classes."""
    if top_k is not None and top_k > len(metadata.classes):
        raise InvalidParameter(f"top_k: there are {len(metadata.classes)} classes")


def prediction_fields(prediction: Prediction, metadata: Metadata, top_k: int | None) -> dict[str, Any]:
    """The fields of schemas.Prediction as a dict, which costs less time than building and validating the model."""
    answer, scores = prediction.answer, prediction.answer.result
    preprocessed = prediction.prepared.preprocessed
    exact, class_id = scores.probabilities.tolist(), scores.class_id
    values = [round(value, 6) for value in exact]
    indices = range(len(values))
    shown = indices if top_k is None else sorted(indices, key=exact.__getitem__, reverse=True)[:top_k]
    seconds = {"decode": prediction.prepared.seconds, "queue": answer.queued, "inference": answer.inference}
    return {
        "label": metadata.classes[class_id],
        "class_id": class_id,
        "confidence": values[class_id],
        "probabilities": {metadata.classes[i]: values[i] for i in shown},
        "out_of_distribution": scores.out_of_distribution,
        "ood_score": None if scores.ood_score is None else round(scores.ood_score, 4),
        "preprocessing": {
            "mode": preprocessed.mode,
            "inverted": preprocessed.inverted,
            "crop": preprocessed.crop,
            "certain": preprocessed.certain,
            "rotation": preprocessed.rotation,
        },
        "model": {"name": metadata.name, "version": scores.version[:12]},
        "timing_ms": {stage: round(1000 * duration, 3) for stage, duration in seconds.items()},
        "batch_size": answer.batch_size,
    }


def timed_response(body: dict[str, Any]) -> Response:
    """The body as JSON, with its timings repeated as the Server-Timing header."""
    timing = ", ".join(f"{stage};dur={ms}" for stage, ms in body["timing_ms"].items())
    return Response(to_json(body), headers={"Server-Timing": timing}, media_type="application/json")
