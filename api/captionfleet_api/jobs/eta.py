"""How long a job will still take: gathers what `waiting.eta_seconds` judges."""

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.waiting import Load, eta_seconds
from captionfleet_api.store.tables import OPEN_STATES, Task, TaskState

_ENDED = [state for state in TaskState if state not in OPEN_STATES]


async def job_eta(session: AsyncSession, fleet_view: FleetView, job: str) -> float | None:
    """Seconds until the job's last task is through; None while a model's speed is unknown."""
    models = await session.scalars(
        select(Task.model).where(Task.job == job, Task.state.in_(OPEN_STATES)).distinct()
    )
    return eta_seconds(
        [Load(await _ahead(session, job, model), fleet_view.rate(model)) for model in models.all()]
    )


async def _ahead(session: AsyncSession, job: str, model: str) -> int:
    """Open tasks of the model up to and with the job's last one, in the order of release."""
    # Said as "not ended", so that a database walks back from the job's end, where open tasks are.
    last = (
        await session.execute(
            select(Task.priority, Task.id)
            .where(Task.job == job, Task.model == model, Task.state.not_in(_ENDED))
            .order_by(Task.id.desc())
            .limit(1)
        )
    ).one_or_none()
    if last is None:
        return 0
    earlier = and_(Task.priority == last.priority, Task.id <= last.id)
    return (
        await session.execute(
            select(func.count()).where(
                Task.state.in_(OPEN_STATES),
                Task.model == model,
                or_(Task.priority < last.priority, earlier),
            )
        )
    ).scalar_one()
