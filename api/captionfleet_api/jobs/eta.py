"""How long a job will still take: gathers what `waiting.eta_seconds` judges."""

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.waiting import Load, eta_seconds
from captionfleet_api.store.tables import OPEN_STATES, Task


async def job_eta(session: AsyncSession, fleet_view: FleetView, job: str) -> float | None:
    """Seconds until the job's last task is through; None while a model's speed is unknown."""
    last = await session.execute(
        select(Task.model, func.max(Task.priority), func.max(Task.id))
        .where(Task.job == job, Task.state.in_(OPEN_STATES))
        .group_by(Task.model)
    )
    return eta_seconds(
        [
            Load(await _ahead(session, model, priority, id), fleet_view.rate(model))
            for model, priority, id in last.all()
        ]
    )


async def _ahead(session: AsyncSession, model: str, priority: int, last: str) -> int:
    """Open tasks of the model up to and with this one, in the order of release."""
    return (
        await session.execute(
            select(func.count()).where(
                Task.state.in_(OPEN_STATES),
                Task.model == model,
                tuple_(Task.priority, Task.id) <= (priority, last),
            )
        )
    ).scalar_one()
