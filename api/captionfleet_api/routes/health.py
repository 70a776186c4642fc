"""/healthz, /readyz and /metrics."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from captionfleet_api.metrics import tasks
from captionfleet_api.parts import Api
from captionfleet_api.store.tables import Task, TaskState

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The program runs."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(api: Api, response: Response) -> dict[str, str]:
    """The database answers and the catalog was read once.

    Pictures and jobs are taken without a broker, and while the catalog cannot be read anew.
    """
    stand = {"broker": api.flow.trouble or "ok", "catalog": api.catalog.trouble() or "ok"}
    if not api.catalog.complete():
        response.status_code = 503
        stand["catalog"] = api.catalog.trouble() or "was not read yet"
    try:
        async with api.database.read() as session:
            await session.execute(select(1))
    except SQLAlchemyError as error:
        response.status_code = 503
        return stand | {"database": f"does not answer: {type(error).__name__}"}
    return stand | {"database": "ok"}


@router.get("/metrics", response_class=Response)
async def metrics(api: Api) -> Response:
    """For Prometheus."""
    async with api.database.read() as session:
        query = select(Task.model, Task.state, func.count()).group_by(Task.state, Task.model)
        counted = {(model, state): count for model, state, count in await session.execute(query)}
    # In one go, or another reader would find them half told.
    tasks.clear()
    for model in {model for model, _ in counted}:
        for state in TaskState:
            tasks.labels(model, state).set(counted.get((model, state), 0))
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
