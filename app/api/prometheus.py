"""GET /metrics: Prometheus' text format."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from app.api.openapi import problems
from app.api.service import Service

api = APIRouter(tags=["Monitoring"])


@api.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse, responses=problems(401, 503))
async def metrics(request: Request) -> Response:
    """Every worker's figures added up."""
    classifier = Service.of(request).classifier
    classifier.metrics.queue.set(classifier.batcher.waiting)
    classifier.model.measure_memory()
    return Response(classifier.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
