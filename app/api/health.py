"""GET /health, /health/ready and /health/live: probes that tell what a picture sent now would meet."""

from fastapi import APIRouter, Request, Response

from app.api import schemas
from app.api.service import Service, draining, stuck

api = APIRouter(tags=["Health"])


@api.get("/health", summary="Does it classify?", responses={503: {"model": schemas.Health}})
@api.get("/health/ready", summary="The same, for readiness probes", responses={503: {"model": schemas.Health}})
async def ready(request: Request, response: Response) -> schemas.Health:
    """200 only if a known picture was classified correctly, through the real queue, at most a second ago."""
    service = Service.of(request)
    response.headers["Cache-Control"] = "no-store"
    reason = await service.reason(request)
    status = "draining" if draining(request) else "unready" if reason else "ready"
    response.status_code = 503 if reason else 200
    return _health(service, status, reason)


@api.get("/health/live", summary="Does the process run?", responses={503: {"model": schemas.Live}})
async def live(request: Request, response: Response) -> schemas.Live:
    """200 unless the engine has done nothing, or nothing right, for so long that only a new process can help."""
    dead = stuck(request)
    response.status_code = 503 if dead else 200
    return schemas.Live(status="stuck" if dead else "alive")


def _health(service: Service, status: str, reason: str | None) -> schemas.Health:
    classifier = service.classifier
    checkpoint, engine = classifier.checkpoint, classifier.engine
    batcher, admission = classifier.batcher, classifier.admission
    return schemas.Health(
        status=status,
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
