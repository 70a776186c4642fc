"""Reads tasks as REST shows them: pages of a job's tasks, rows of its grid, what changed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, Select, exists, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.shapes import CaptionShape, ErrorShape, GridRow, ImageShape, TaskShape
from captionfleet_api.store.tables import (
    OPEN_STATES,
    Attempt,
    Column,
    Image,
    JobImage,
    Task,
    TaskState,
)

Cell = Row[*tuple[Any, ...]]
_TOKENS_AT_ONCE = 500
RUNNING = "running"
"""A state that is shown, never stored: an engine works on the task now."""
ShownState = Literal["pending", "queued", "running", "captioned", "failed", "cancelled"]


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks of a job are wanted; None takes all. `q` is text in caption or file name."""

    column: str | None = None
    model: str | None = None
    state: str | None = None
    q: str | None = None


@dataclass(frozen=True)
class Change:
    """A task with the number of its last change."""

    number: int
    task: TaskShape


async def running_tasks(session: AsyncSession, fleet_view: FleetView) -> set[str]:
    """Ids of the tasks that fresh heartbeats say an engine works on."""
    tokens = sorted(fleet_view.running_tokens())
    found: set[str] = set()
    for start in range(0, len(tokens), _TOKENS_AT_ONCE):
        some = tokens[start : start + _TOKENS_AT_ONCE]
        found.update(await session.scalars(select(Attempt.task).where(Attempt.token.in_(some))))
    return found


async def task_page(
    session: AsyncSession,
    fleet_view: FleetView,
    job: str,
    wanted: TaskFilter,
    *,
    limit: int,
    after: str = "",
) -> list[TaskShape]:
    """Up to `limit` tasks in the order of their ids, beginning after the id `after`."""
    running = await running_tasks(session, fleet_view)
    query = _cells().where(Task.job == job, Task.id > after, *_conditions(wanted, running))
    rows = await session.execute(query.order_by(Task.id).limit(limit))
    return _shapes(rows, running, fleet_view)


async def task_shape(session: AsyncSession, fleet_view: FleetView, task: str) -> TaskShape | None:
    running = await running_tasks(session, fleet_view)
    rows = (await session.execute(_cells().where(Task.id == task))).all()
    return next(iter(_shapes(rows, running, fleet_view)), None)


async def tasks_by_id(
    session: AsyncSession, fleet_view: FleetView, job: str, ids: Sequence[str]
) -> list[TaskShape]:
    running = await running_tasks(session, fleet_view)
    rows = await session.execute(_cells().where(Task.job == job, Task.id.in_(ids)))
    return _shapes(rows, running, fleet_view)


async def changed_tasks(
    session: AsyncSession,
    fleet_view: FleetView,
    job: str,
    after: tuple[int, str],
    limit: int,
) -> list[Change]:
    """Tasks beyond the place (change number, task id), in the order of their changes."""
    query = _cells(Task.changed).where(Task.job == job, tuple_(Task.changed, Task.id) > after)
    rows = (await session.execute(query.order_by(Task.changed, Task.id).limit(limit))).all()
    running = await running_tasks(session, fleet_view)
    shapes = _shapes(rows, running, fleet_view)
    return [Change(row.changed, shape) for row, shape in zip(rows, shapes, strict=True)]


async def grid_page(
    session: AsyncSession,
    fleet_view: FleetView,
    job: str,
    *,
    limit: int,
    start: int = 0,
    q: str | None = None,
) -> list[GridRow]:
    """Rows from position `start` on; with `q` only those where it occurs."""
    query = (
        select(JobImage.id, JobImage.position, JobImage.filename, Image.id.label("image"),
               Image.width, Image.height)
        .join(Image, Image.id == JobImage.image)
        .where(JobImage.job == job, JobImage.position >= start)
    )  # fmt: skip
    if q:
        in_caption = exists().where(Task.job_image == JobImage.id, _contains(Task.caption, q))
        query = query.where(or_(_contains(JobImage.filename, q), in_caption))
    rows = (await session.execute(query.order_by(JobImage.position).limit(limit))).all()
    shown = _cells(Task.job_image).where(Task.job_image.in_([row.id for row in rows]))
    found = (await session.execute(shown)).all()
    running = await running_tasks(session, fleet_view)
    cells: dict[str, dict[str, TaskShape]] = {row.id: {} for row in rows}
    for row, shape in zip(found, _shapes(found, running, fleet_view), strict=True):
        cells[row.job_image][shape.column] = shape
    return [
        GridRow(position=row.position, image=_image(row, row.image), cells=cells[row.id])
        for row in rows
    ]


def _cells(*more: Any) -> Select[*tuple[Any, ...]]:
    return (
        select(
            Task.id, Task.job, Task.column, Task.model, Task.state, Task.caption, Task.finish,
            Task.seconds, Task.tokens, Task.revision, Task.worker, Task.cached, Task.error_code,
            Task.error_message, Task.attempts, Task.starred, Column.prompt, JobImage.filename,
            JobImage.image, Image.width, Image.height, *more,
        )
        .join(Column, Column.id == Task.column)
        .join(JobImage, JobImage.id == Task.job_image)
        .join(Image, Image.id == JobImage.image)
    )  # fmt: skip


def _conditions(wanted: TaskFilter, running: set[str]) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.column is not None:
        conditions.append(Task.column == wanted.column)
    if wanted.model is not None:
        conditions.append(Task.model == wanted.model)
    if wanted.state == RUNNING:
        conditions += [Task.state == TaskState.QUEUED, Task.id.in_(running)]
    elif wanted.state is not None:
        conditions.append(Task.state == wanted.state)
        if wanted.state == TaskState.QUEUED:
            conditions.append(Task.id.not_in(running))
    if wanted.q:
        conditions.append(
            or_(_contains(Task.caption, wanted.q), _contains(JobImage.filename, wanted.q))
        )
    return conditions


def _contains(column: Any, text: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column.icontains(text, autoescape=True)
    return found


def _shapes(rows: Iterable[Cell], running: set[str], fleet_view: FleetView) -> list[TaskShape]:
    reasons: dict[str, str] = {}

    def reason(model: str) -> str:
        if model not in reasons:
            reasons[model] = fleet_view.waiting_sentence(model)
        return reasons[model]

    return [_shape(row, row.id in running, reason) for row in rows]


def _shape(row: Cell, is_running: bool, reason: Callable[[str], str]) -> TaskShape:
    state = RUNNING if is_running and row.state == TaskState.QUEUED else row.state
    return TaskShape(
        id=row.id,
        job=row.job,
        image=_image(row, row.image),
        column=row.column,
        model=row.model,
        prompt=row.prompt,
        state=state,
        reason=reason(row.model) if state in OPEN_STATES else None,
        caption=_caption(row) if row.state == TaskState.CAPTIONED else None,
        error=_error(row) if row.state == TaskState.FAILED else None,
        attempts=row.attempts,
        starred=row.starred,
    )


def _image(row: Cell, image: str) -> ImageShape:
    return ImageShape(
        id=image, sha256=image, filename=row.filename, width=row.width, height=row.height
    )


def _caption(row: Cell) -> CaptionShape:
    return CaptionShape(
        text=row.caption or "",
        finish=row.finish,
        seconds=row.seconds,
        tokens=row.tokens,
        revision=row.revision,
        cached=row.cached,
        worker=row.worker,
    )


def _error(row: Cell) -> ErrorShape:
    return ErrorShape(code=row.error_code or "model_error", message=row.error_message or "")
