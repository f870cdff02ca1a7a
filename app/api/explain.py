"""POST /explain: as /predict, with where the network saw each class and what it saw at all."""

import base64
from io import BytesIO
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray
from PIL import Image

from app.api import schemas
from app.api.direct_routes import DirectRoute
from app.api.predict import ONE_PICTURE, PROBLEMS, answer, classify_one

api = APIRouter(tags=["Classification"], route_class=DirectRoute)


@api.post(
    "/explain",
    summary="Classify one picture and show why",
    response_model=schemas.Explanation,
    responses=PROBLEMS,
    openapi_extra=ONE_PICTURE,
)
async def explain(request: Request, options: Annotated[schemas.Options, Query()]) -> Response:
    """As /predict, with a class activation map for each class and the picture as the network saw it.

    The maps are exact: the network ends in a mean over 3×3 places and one linear layer, which may as well change
    places (Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016).
    """
    prediction, write = await classify_one(request, options)
    body = write(prediction)
    maps = dict(zip(write.classes, prediction.answer.result.maps, strict=True))
    body["maps"] = {name: _rounded(maps[name]) for name in body["probabilities"]}
    body["seen"] = _data_url(prediction.prepared.preprocessed.pixels)
    return answer(body)


def _rounded(grid: NDArray[np.float32]) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in grid.tolist()]


def _data_url(pixels: NDArray[np.uint8]) -> str:
    """uint8 [96,96] → data:image/png;base64,…"""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
