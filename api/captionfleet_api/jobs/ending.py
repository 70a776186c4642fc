"""How a job ends by a person's will, and how what failed begins anew: cancel, retry, delete."""

import time
from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.refusals import Refusal
from captionfleet_api.store.engine import Database
from captionfleet_api.store.sequence import next_changes
from captionfleet_api.store.tables import (
    OPEN_STATES,
    Attempt,
    Column,
    Job,
    JobImage,
    JobState,
    Lane,
    Task,
    TaskState,
)

_UNANSWERED = {
    "state": TaskState.PENDING, "lane": Lane.MODEL, "losses": 0, "error_code": None,
    "error_message": None, "queued_at": None, "finished_at": None,
}  # fmt: skip


async def cancel(database: Database, changes: Changes, job_id: str) -> frozenset[str]:
    """Cancel what is open; late results will find it ended. A finished job stays as it is.

    Returns the tokens that workers may have and that nobody waits for any more.
    """
    async with database.write() as session:
        job = await _job(session, job_id)
        if job.state != JobState.RUNNING:
            return frozenset()
        now, change = time.time(), await next_changes(session)
        still_open = [Task.job == job_id, Task.state.in_(OPEN_STATES)]
        tokens, models = await _open_work(session, still_open)
        await session.execute(
            update(Attempt)
            .where(Attempt.task.in_(select(Task.id).where(*still_open)))
            .values(ended=True)
            .execution_options(synchronize_session=False)
        )
        await session.execute(
            update(Task)
            .where(*still_open)
            .values(state=TaskState.CANCELLED, finished_at=now, changed=change)
            .execution_options(synchronize_session=False)
        )
        job.state, job.finished_at, job.changed = JobState.CANCELLED, now, change
    changes.tell([job_id], models)  # others may have waited for their turn
    return tokens


async def retry_failed(
    database: Database, changes: Changes, job_id: str, column: str | None
) -> None:
    """Try all failed tasks of the job, or of one of its columns, again."""
    async with database.write() as session:
        await _job(session, job_id)
        wanted = [Task.job == job_id, Task.state == TaskState.FAILED]
        if column is not None:
            known = await session.get(Column, column)
            if known is None or known.job != job_id:
                raise Refusal(404, f"the job has no column {column}", field="column")
            wanted.append(Task.column == column)
        models = await _begin_anew(session, job_id, wanted)
    changes.tell([job_id], models)


async def retry_task(database: Database, changes: Changes, task_id: str) -> None:
    """Try one failed or cancelled task again."""
    async with database.write() as session:
        task = await session.get(Task, task_id)
        if task is None:
            raise Refusal(404, f"there is no task {task_id}")
        if task.state not in (TaskState.FAILED, TaskState.CANCELLED):
            raise Refusal(409, f"the task is {task.state}: only what failed can be tried again")
        models = await _begin_anew(session, task.job, [Task.id == task_id])
        job = task.job
    changes.tell([job], models)


async def star(database: Database, changes: Changes, task_id: str, starred: bool) -> None:
    async with database.write() as session:
        task = await session.get(Task, task_id)
        if task is None:
            raise Refusal(404, f"there is no task {task_id}")
        if task.starred != starred:
            task.starred, task.changed = starred, await next_changes(session)
        job = task.job
    changes.tell([job])


async def delete_job(database: Database, changes: Changes, job_id: str) -> frozenset[str]:
    """Remove the job with all it holds. Its pictures go later, if no other job shows them.

    Returns tokens as cancel() does.
    """
    async with database.write() as session:
        await _job(session, job_id)
        still_open = [Task.job == job_id, Task.state.in_(OPEN_STATES)]
        tokens, models = await _open_work(session, still_open)
        of_job = select(Task.id).where(Task.job == job_id)
        await session.execute(delete(Attempt).where(Attempt.task.in_(of_job)))
        for table in (Task, Column, JobImage):
            await session.execute(delete(table).where(table.job == job_id))
        await session.execute(delete(Job).where(Job.id == job_id))
    changes.tell([job_id], models)
    return tokens


async def _open_work(
    session: AsyncSession, wanted: Sequence[ColumnElement[bool]]
) -> tuple[frozenset[str], frozenset[str]]:
    """Tokens of the tasks' attempts, and their models."""
    of_tasks = Attempt.task.in_(select(Task.id).where(*wanted))
    tokens = await session.scalars(select(Attempt.token).where(of_tasks))
    models = await session.scalars(select(Task.model).where(*wanted).distinct())
    return frozenset(tokens), frozenset(models)


async def _job(session: AsyncSession, job_id: str) -> Job:
    job = await session.get(Job, job_id)
    if job is None:
        raise Refusal(404, f"there is no job {job_id}")
    return job


async def _begin_anew(
    session: AsyncSession, job_id: str, wanted: Sequence[ColumnElement[bool]]
) -> set[str]:
    """Make the wanted tasks pending and the job running again; the models that have work now.

    Their attempts are forgotten: a late second copy of the old answer must not be the new one.
    """
    models = set(await session.scalars(select(Task.model).where(*wanted).distinct()))
    if not models:
        return models
    change = await next_changes(session)
    await session.execute(delete(Attempt).where(Attempt.task.in_(select(Task.id).where(*wanted))))
    await session.execute(
        update(Task)
        .where(*wanted)
        .values(**_UNANSWERED, changed=change)
        .execution_options(synchronize_session=False)
    )
    await session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(state=JobState.RUNNING, finished_at=None, changed=change)
        .execution_options(synchronize_session=False)
    )
    return models
