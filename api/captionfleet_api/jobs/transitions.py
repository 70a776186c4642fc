"""The ways in which a task changes its state, and what every change entails.

Callers hold a write transaction; the tasks are rows loaded in it.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet.messages import ResultMessage
from captionfleet_api.store.sequence import next_changes
from captionfleet_api.store.tables import OPEN_STATES, Attempt, Job, JobState, Lane, Task, TaskState


def to_captioned(task: Task, result: ResultMessage, now: float) -> None:
    task.state = TaskState.CAPTIONED
    task.caption = result.text
    task.finish = result.finish
    task.seconds = result.seconds
    task.tokens = result.tokens
    task.revision = result.revision
    task.worker = result.worker
    task.finished_at = now


def to_failed(task: Task, code: str, message: str, now: float) -> None:
    task.state = TaskState.FAILED
    task.error_code = code
    task.error_message = message
    task.finished_at = now


def to_pending(task: Task, lane: Lane | None = None) -> None:
    """Back into the database, to be released again under a further token."""
    task.state = TaskState.PENDING
    task.queued_at = None
    if lane:
        task.lane = lane


async def record(session: AsyncSession, tasks: Sequence[Task], now: float) -> None:
    """Write changed tasks that are no longer with a worker: end their attempts, number the
    changes, complete jobs that have no open task left.
    """
    if not tasks:
        return
    await number(session, tasks)
    await session.flush()
    await session.execute(
        update(Attempt)
        .where(Attempt.task.in_([task.id for task in tasks]), Attempt.ended.is_(False))
        .values(ended=True)
        .execution_options(synchronize_session=False)
    )
    await complete_jobs(session, {task.job for task in tasks}, now)


async def number(session: AsyncSession, rows: Sequence[Task | Job]) -> None:
    """Give each changed row its own number, so that event streams can resume between them."""
    with session.no_autoflush:  # the rows are written once, with their numbers
        last = await next_changes(session, len(rows))
    for changed, row in enumerate(rows, last - len(rows) + 1):
        row.changed = changed


async def complete_jobs(session: AsyncSession, jobs: Collection[str], now: float) -> None:
    """Complete those of the running jobs that have no open task."""
    has_open = select(Task.id).where(Task.job == Job.id, Task.state.in_(OPEN_STATES)).exists()
    done = (
        await session.scalars(
            select(Job).where(Job.id.in_(jobs), Job.state == JobState.RUNNING, ~has_open)
        )
    ).all()
    for job in done:
        job.state = JobState.COMPLETED
        job.finished_at = now
    if done:
        await number(session, done)
