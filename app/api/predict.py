"""POST /predict and /predict/batch."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic_core import to_json

from app.api import schemas
from app.api.direct_routes import DirectRoute
from app.api.disconnect import while_connected
from app.api.problems import problem
from app.api.service import Service
from app.api.upload.pictures import read_pictures
from app.errors import InvalidParameter, ServiceError
from app.images.decode import picture_format
from app.inference.classifier import Classifier, Prediction
from app.settings import MAX_PICTURES

PICTURE = {"type": "string", "format": "binary"}

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status in (400, 401, 408, 413, 415, 422, 503, 504)
}


RAW = (
    *("image/png", "image/jpeg", "image/webp", "image/avif", "image/heic", "image/heif"),
    *("image/gif", "image/bmp", "image/tiff", "application/octet-stream"),
)
TEXT = {"type": "string", "description": "A picture's file in base64, or as a data: URL"}
OPTIONS = schemas.Options.model_json_schema()["properties"]


def _request_body(description: str, name: str, text: str, many: bool, raw: tuple[str, ...] = ()) -> dict[str, Any]:
    """OpenAPI's description of a body: a form with a part `name`, JSON with `text`, or one picture of a `raw` type."""

    def fields(key: str, value: dict[str, Any]) -> dict[str, Any]:
        repeated = {"type": "array", "items": value, "minItems": 1, "maxItems": MAX_PICTURES}
        return {"type": "object", "properties": {key: repeated if many else value, **OPTIONS}, "required": [key]}

    content = {
        "multipart/form-data": {"schema": fields(name, PICTURE)},
        "application/json": {"schema": {**fields(text, TEXT), "additionalProperties": False}},
        "application/x-www-form-urlencoded": {"schema": fields(name, TEXT)},
        **{media_type: {"schema": PICTURE} for media_type in raw},
    }
    return {"requestBody": {"required": True, "description": description, "content": content}}


SENT = (
    "In JSON and in fields of text it is base64 or a data: URL. Options may be fields too; the query's go before. "
    "Content-Encoding may be gzip or deflate."
)

ONE_PICTURE = _request_body(
    "The picture: as the part `file` (or `image`) of a form, where a file alone may be called anything, as `image` of "
    f"a JSON object, or by itself as the whole body. {SENT}",
    *("file", "image", False, RAW),
)


api = APIRouter(tags=["Classification"], route_class=DirectRoute)


@api.post(
    "/predict",
    summary="Classify one picture",
    response_model=schemas.Prediction,
    responses=PROBLEMS,
    openapi_extra=ONE_PICTURE,
)
async def predict(request: Request, options: Annotated[schemas.Options, Query()]) -> Response:
    """The probability of every class for one picture of a garment."""
    prediction, write = await classify_one(request, options)
    return answer(write(prediction))


@api.post(
    "/predict/batch",
    summary=f"Classify up to {MAX_PICTURES} pictures",
    response_model=schemas.Predictions,
    responses=PROBLEMS,
    openapi_extra=_request_body(
        f"Up to {MAX_PICTURES} pictures as repeated parts `files` of a form, or as a list `images` in JSON. {SENT}",
        *("files", "images", True),
    ),
)
async def predict_batch(request: Request, options: Annotated[schemas.Options, Query()]) -> Response:
    """One answer a picture, in their order; an unusable one is an error in its own place, the rest succeed."""
    service = Service.of(request)
    pictures, options = await read_pictures(request, options, MAX_PICTURES)
    write = Writer(service.classifier, options.top_k)
    async with while_connected(request):
        results = await service.classifier.classify_many(pictures, options.mode, options.background, options.rotation)
    request.scope["seen"] = {"pictures": len(results)}
    entries = [{"error": problem(result)} if isinstance(result, ServiceError) else write(result) for result in results]
    return Response(to_json({"predictions": entries}), media_type="application/json")


async def classify_one(request: Request, options: schemas.Options) -> tuple[Prediction, "Writer"]:
    """The picture that the request carries, and what writes its answer. Raises ServiceError."""
    service = Service.of(request)
    (picture,), options = await read_pictures(request, options, 1)
    write = Writer(service.classifier, options.top_k)
    async with while_connected(request):
        prediction = await service.classifier.classify(picture, options.mode, options.background, options.rotation)
    answered = prediction.answer
    request.scope["seen"] = {  # for the log
        "format": picture_format(picture),
        "label": service.classifier.checkpoint.metadata.classes[int(answered.result.probabilities.argmax())],
        "batch_size": answered.batch_size,
        "decode": round(1000 * prediction.prepared.seconds, 3),
        "queue": round(1000 * answered.queued, 3),
        "inference": round(1000 * answered.inference, 3),
    }
    return prediction, write


def answer(body: dict[str, Any]) -> Response:
    """The body as JSON, its timings as Server-Timing too."""
    timing = ", ".join(f"{name};dur={ms}" for name, ms in body["timing_ms"].items())
    return Response(to_json(body), headers={"Server-Timing": timing}, media_type="application/json")


class Writer:
    """Prediction → schemas.Prediction as plain values. Raises InvalidParameter if top_k is more than there are."""

    def __init__(self, classifier: Classifier, top_k: int | None) -> None:
        checkpoint = classifier.checkpoint
        self.classes, self.top_k = checkpoint.metadata.classes, top_k
        self.name = checkpoint.metadata.name
        if top_k is not None and top_k > len(self.classes):
            raise InvalidParameter(f"top_k: there are {len(self.classes)} classes")

    def __call__(self, prediction: Prediction) -> dict[str, Any]:
        prepared, answer = prediction.prepared, prediction.answer
        values = [round(value, 6) for value in answer.result.probabilities.tolist()]
        likeliest = sorted(range(len(values)), key=values.__getitem__, reverse=True)
        shown = range(len(values)) if self.top_k is None else likeliest[: self.top_k]
        preprocessed = prepared.preprocessed
        seconds = {"decode": prepared.seconds, "queue": answer.queued, "inference": answer.inference}
        return {
            "label": self.classes[likeliest[0]],
            "class_id": likeliest[0],
            "confidence": values[likeliest[0]],
            "probabilities": {self.classes[i]: values[i] for i in shown},
            "out_of_distribution": answer.result.out_of_distribution,
            "ood_score": None if answer.result.ood_score is None else round(answer.result.ood_score, 4),
            "preprocessing": {
                "mode": preprocessed.mode,
                "inverted": preprocessed.inverted,
                "crop": preprocessed.crop,
                "certain": preprocessed.certain,
                "rotation": preprocessed.rotation,
            },
            "model": {"name": self.name, "version": answer.result.version[:12]},
            "timing_ms": {name: round(1000 * value, 3) for name, value in seconds.items()},
            "batch_size": answer.batch_size,
        }
