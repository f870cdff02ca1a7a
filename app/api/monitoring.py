"""GET /health, /health/ready and /health/live for orchestrators, GET /metrics for Prometheus."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from app.api import schemas
from app.api.openapi import problem_responses
from app.api.service import Service, is_draining, is_stuck

router = APIRouter()


@router.get("/health", tags=["Health"], summary="Does it classify?", responses={503: {"model": schemas.Health}})
@router.get(
    "/health/ready",
    tags=["Health"],
    summary="The same, for readiness probes",
    responses={503: {"model": schemas.Health}},
)
async def ready(request: Request, response: Response) -> schemas.Health:
    """200 only if a known picture was classified correctly, through the real queue, at most a second ago."""
    service = Service.from_request(request)
    reason = await service.unready_reason(request)
    response.status_code = 503 if reason else 200
    response.headers["Cache-Control"] = "no-store"
    classifier, checkpoint, engine = service.classifier, service.classifier.checkpoint, service.classifier.engine
    admission, batcher = classifier.admission, classifier.batcher
    return schemas.Health(
        status="draining" if is_draining(request) else "unready" if reason else "ready",
        reason=reason,
        model=schemas.ServedModel(
            name=checkpoint.metadata.name,
            version=checkpoint.version[:12],
            classes=list(checkpoint.metadata.classes),
            accuracy=checkpoint.metadata.accuracy,
        ),
        engine=schemas.EngineInfo(
            name=engine.name,
            device=engine.device,
            precision=engine.precision,
            max_batch_size=batcher.max_batch_size,
            pictures_per_second={size: round(size / s, 1) for size, s in classifier.capacity.items()},
        ),
        queue=schemas.Queue(images=batcher.waiting, limit=admission.limit, overloaded=admission.overloaded),
    )


@router.get("/health/live", tags=["Health"], summary="Does the process run?", responses={503: {"model": schemas.Live}})
async def live(request: Request, response: Response) -> schemas.Live:
    """503 if for STUCK_LIMIT seconds no batch has ended or succeeded, or the known picture was classified wrongly."""
    stuck = is_stuck(request)
    response.status_code = 503 if stuck else 200
    return schemas.Live(status="stuck" if stuck else "alive")


@router.get(
    "/metrics",
    tags=["Monitoring"],
    summary="Figures for Prometheus",
    response_class=PlainTextResponse,
    responses={200: {"content": {"application/openmetrics-text": {}}}, **problem_responses(401, 503)},
)
async def metrics(request: Request) -> Response:
    """The sums over all workers, in Prometheus' text format, or in OpenMetrics if the Accept header asks for it."""
    classifier = Service.from_request(request).classifier
    classifier.metrics.queue.set(classifier.batcher.waiting)
    classifier.model.measure_memory()
    text, content_type = classifier.metrics.exposition(request.headers.get("accept", ""))
    return Response(text, headers={"Content-Type": content_type, "Vary": "Accept"})
