"""POST /explain: as /predict, with a class activation map for each class and the picture that the network received."""

import base64
from io import BytesIO
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray
from PIL import Image

from app.api import schemas
from app.api.openapi import ONE_PICTURE
from app.api.predict import PROBLEMS, classify_one, timed_response
from app.api.service import Service

router = APIRouter(tags=["Classification"])


@router.post(
    "/explain",
    summary="Classify one picture and show why",
    response_model=schemas.Explanation,
    responses=PROBLEMS,
    openapi_extra=ONE_PICTURE,
)
async def explain(request: Request, options: Annotated[schemas.Options, Query()]) -> Response:
    """As /predict, with a class activation map for each class and the picture as the network saw it.

    The maps are exact: the network ends with a mean over 3×3 positions and a linear layer, whose order does not matter
    (Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016).
    """
    prediction, body = await classify_one(request, options)
    classes = Service.from_request(request).classifier.checkpoint.metadata.classes
    maps = dict(zip(classes, prediction.answer.result.maps, strict=True))
    body["maps"] = {name: maps[name].astype(float).round(4).tolist() for name in body["probabilities"]}
    body["seen"] = _png_data_url(prediction.prepared.preprocessed.pixels)
    return timed_response(body)


def _png_data_url(pixels: NDArray[np.uint8]) -> str:
    """uint8 [96,96] → data:image/png;base64,…"""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
