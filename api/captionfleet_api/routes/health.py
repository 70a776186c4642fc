"""/healthz, /readyz and /metrics."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge
from prometheus_client import generate_latest as text_of
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

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
    counted = CollectorRegistry()
    tasks = Gauge("captionfleet_tasks", "Tasks by state.", ["state"], registry=counted)
    for state in TaskState:
        tasks.labels(state).set(0)
    async with api.database.read() as session:
        query = select(Task.state, func.count()).group_by(Task.state)
        for found, count in await session.execute(query):
            tasks.labels(found).set(count)
    return Response(text_of(counted) + text_of(REGISTRY), media_type=CONTENT_TYPE_LATEST)
