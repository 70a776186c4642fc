"""Reads jobs as REST shows them: their counts, their columns and how long they will take."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.jobs.eta import job_eta
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.shapes import (
    ColumnShape,
    Counts,
    JobShape,
    RejectedShape,
    rfc3339,
)
from captionfleet_api.jobs.task_reading import RUNNING, running_tasks
from captionfleet_api.store.tables import (
    Column,
    Job,
    JobImage,
    JobState,
    Task,
    TaskState,
)


async def job_shape(session: AsyncSession, fleet_view: FleetView, job_id: str) -> JobShape | None:
    job = await session.get(Job, job_id)
    return (await _shapes(session, fleet_view, [job]))[0] if job else None


async def job_page(
    session: AsyncSession, fleet_view: FleetView, *, limit: int, before: str | None
) -> list[JobShape]:
    """Up to `limit` jobs, newest first, beginning with the one older than `before`."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    if before:
        query = query.where(Job.id < before)
    return await _shapes(session, fleet_view, (await session.scalars(query)).all())


async def job_state(session: AsyncSession, job_id: str) -> str | None:
    """Alone, for who asks often; None if there is no job."""
    return await session.scalar(select(Job.state).where(Job.id == job_id))


async def last_change(session: AsyncSession, job_id: str) -> int | None:
    """The number of the job's last change, its tasks' included; None if there is no job."""
    of_job = (
        await session.execute(select(Job.changed).where(Job.id == job_id))
    ).scalar_one_or_none()
    if of_job is None:
        return None
    of_tasks = select(func.max(Task.changed)).where(Task.job == job_id)
    return max(of_job, (await session.execute(of_tasks)).scalar_one() or 0)


async def _shapes(
    session: AsyncSession, fleet_view: FleetView, jobs: Sequence[Job]
) -> list[JobShape]:
    ids = [job.id for job in jobs]
    counts = await _counts(session, fleet_view, ids)
    columns = await _columns(session, ids)
    images = await session.execute(
        select(JobImage.job, func.count()).where(JobImage.job.in_(ids)).group_by(JobImage.job)
    )
    pictures = {job: count for job, count in images}
    return [
        JobShape(
            id=job.id,
            name=job.name,
            priority=job.priority,
            state=job.state,
            counts=counts[job.id],
            rejected=[RejectedShape(**each) for each in job.rejected],
            columns=columns[job.id],
            images=pictures.get(job.id, 0),
            eta_seconds=await _eta(session, fleet_view, job),
            created_at=rfc3339(job.created_at) or "",
            finished_at=rfc3339(job.finished_at),
        )
        for job in jobs
    ]


async def _counts(
    session: AsyncSession, fleet_view: FleetView, jobs: Sequence[str]
) -> dict[str, Counts]:
    states: dict[str, defaultdict[str, int]] = {job: defaultdict(int) for job in jobs}
    stored = (
        select(Task.job, Task.state, func.count())
        .where(Task.job.in_(jobs))
        .group_by(Task.job, Task.state)
    )
    for job, state, count in await session.execute(stored):
        states[job][state] = count
    now_running = select(Task.job, func.count()).where(
        Task.id.in_(await running_tasks(session, fleet_view)),
        Task.job.in_(jobs),
        Task.state == TaskState.QUEUED,
    )
    for job, count in await session.execute(now_running.group_by(Task.job)):
        states[job][TaskState.QUEUED] -= count
        states[job][RUNNING] = count
    return {job: Counts(**of_job) for job, of_job in states.items()}


async def _columns(
    session: AsyncSession, jobs: Sequence[str]
) -> defaultdict[str, list[ColumnShape]]:
    found: defaultdict[str, list[ColumnShape]] = defaultdict(list)
    query = select(Column).where(Column.job.in_(jobs)).order_by(Column.position)
    for column in await session.scalars(query):
        found[column.job].append(
            ColumnShape(
                id=column.id,
                position=column.position,
                model=column.model,
                prompt_name=column.prompt_name,
                prompt=column.prompt,
                options=column.options,
            )
        )
    return found


async def _eta(session: AsyncSession, fleet_view: FleetView, job: Job) -> float | None:
    if job.state != JobState.RUNNING:
        return None
    return await job_eta(session, fleet_view, job.id)
