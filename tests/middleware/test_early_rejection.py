"""Who comes in while the event loop has not got to those before."""

import asyncio

import pytest
from starlette.types import Scope

from app.inference.admission import AdmissionControl
from app.metrics import Metrics
from app.middleware.early_rejection import EarlyRejection
from app.middleware.request_log import RequestLog

PLACES = 100


@pytest.mark.parametrize(
    "path", ["/predict", "/predict/", "/ml/predict", "/ml/predict/", "/v1/models/m:predict", "/ml/v1/models/m:predict/"]
)
def test_no_more_come_in_at_once_than_there_are_places(path: str) -> None:
    metrics = Metrics()
    early_rejection = EarlyRejection(AdmissionControl(PLACES, 1000, 10, metrics), RequestLog(metrics), "/ml")
    request: Scope = {"method": "POST", "path": path, "headers": []}

    async def crowds() -> tuple[list[int | None], list[int | None]]:
        first = [answer and answer[0] for answer in (early_rejection.check(request) for _ in range(PLACES + 5))]
        await asyncio.sleep(0)  # nobody has taken a place
        return first, [answer and answer[0] for answer in (early_rejection.check(request) for _ in range(PLACES + 1))]

    first, second = asyncio.run(crowds())
    assert first == [None] * PLACES + [503] * 5
    assert second == [None] * PLACES + [503]
