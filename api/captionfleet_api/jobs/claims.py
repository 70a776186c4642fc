"""The transaction that releases tasks: which of a model's pending tasks go out now, under which
tokens. Publishing them is not done here.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet.ids import new_id
from captionfleet_api.jobs import known_captions, transitions
from captionfleet_api.jobs.release_window import Released, Room, Window, fitting, room
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import Attempt, Column, Lane, ModelLock, Task, TaskState

# A candidate may have to wait for its twin, so look at some more than there is room for.
_SPARE_CANDIDATES = 32


@dataclass(frozen=True)
class Outgoing:
    """One attempt that has to reach the broker."""

    token: str
    task: str
    model: str
    lane: str
    picture_sha256: str
    prompt: str
    options: Mapping[str, Any]


@dataclass
class Claimed:
    """What a claim did, to be acted upon after its commit."""

    outgoing: list[Outgoing] = field(default_factory=list)
    jobs: set[str] = field(default_factory=set)
    filled: int = 0
    """Tasks answered from the caption cache instead."""


@dataclass(frozen=True)
class Question:
    """What makes two tasks of one model twins: the second waits for the answer to the first."""

    picture_sha256: str
    prompt: str
    options: str


async def ensure_lock(database: Database, model: str) -> None:
    """Make the model's lock row; another process may make it at the same time."""
    try:
        async with database.write() as session:
            if await session.get(ModelLock, model) is None:
                session.add(ModelLock(model=model))
    except IntegrityError:
        return  # the other one made it


async def claim(
    session: AsyncSession, model: str, window: Window, revisions: Mapping[str, str]
) -> Claimed:
    """Release what the window has room for, in order: interactive before batch, then age.

    `session` is a fresh write transaction: the update of the lock row must open it.
    """
    await session.execute(
        update(ModelLock).where(ModelLock.model == model).values(releases=ModelLock.releases + 1)
    )
    queued = (await session.execute(_queued(model))).all()
    left = room(window, _released(queued))
    columns = await _candidates(session, model, left)
    if not columns:
        return Claimed()
    filled = await known_captions.fill(session, list(columns), revisions)
    answered = [task for task in columns if task.state == TaskState.CAPTIONED]
    pending = [
        (task, _question(task.picture_sha256, column))
        for task, column in columns.items()
        if task.state == TaskState.PENDING
    ]
    chosen = choose(pending, {_question(q.picture_sha256, q.Column) for q in queued}, left)
    outgoing = await _release(session, chosen, columns)
    await transitions.record(session, answered, time.time())
    return Claimed(outgoing, {task.job for task in (*chosen, *answered)}, filled)


def choose(
    candidates: Iterable[tuple[Task, Question]], busy: Iterable[Question], left: Room
) -> list[Task]:
    """The candidates that fit, in their order; none whose twin is out or chosen before it."""
    asked = set(busy)
    lanes: dict[str, list[Task]] = {Lane.SUSPECT: [], Lane.MODEL: []}
    places = {Lane.SUSPECT: left.suspects, Lane.MODEL: left.pictures}
    for task, question in candidates:
        lane = Lane(task.lane)
        if question not in asked and len(lanes[lane]) < places[lane]:
            asked.add(question)
            lanes[lane].append(task)
    chosen = [task for lane in lanes.values() for task in lane]
    return chosen[: fitting((task.picture_size for task in chosen), left.picture_bytes)]


def _queued(model: str) -> Any:
    return (
        select(Task.lane, Task.picture_size, Task.picture_sha256, Column)
        .join(Column, Column.id == Task.column)
        .where(Task.state == TaskState.QUEUED, Task.model == model)
    )


def _released(queued: Sequence[Any]) -> Released:
    suspects = sum(row.lane == Lane.SUSPECT for row in queued)
    return Released(
        pictures=len(queued) - suspects,
        suspects=suspects,
        picture_bytes=sum(row.picture_size for row in queued),
    )


async def _candidates(session: AsyncSession, model: str, left: Room) -> dict[Task, Column]:
    """Pending tasks in the order of release, suspects first, with their columns."""
    found: dict[Task, Column] = {}
    for lane, places in ((Lane.SUSPECT, left.suspects), (Lane.MODEL, left.pictures)):
        if places:
            rows = await session.execute(
                select(Task, Column)
                .join(Column, Column.id == Task.column)
                .where(Task.state == TaskState.PENDING, Task.model == model, Task.lane == lane)
                .order_by(Task.priority, Task.id)
                .limit(places + _SPARE_CANDIDATES)
            )
            found |= {task: column for task, column in rows}
    return found


def _question(picture_sha256: str, column: Column) -> Question:
    return Question(picture_sha256, column.prompt, json.dumps(column.options, sort_keys=True))


async def _release(
    session: AsyncSession, chosen: Sequence[Task], columns: Mapping[Task, Column]
) -> list[Outgoing]:
    if not chosen:
        return []
    now = time.time()
    outgoing = [outgoing_of(new_id(), task, columns[task]) for task in chosen]
    for task in chosen:
        task.state = TaskState.QUEUED
        task.attempts += 1
        task.queued_at = now
    await transitions.number(session, chosen)
    await session.execute(
        insert(Attempt),
        [
            {"token": o.token, "task": o.task, "model": o.model, "lane": o.lane, "created_at": now}
            for o in outgoing
        ],
    )
    return outgoing


def outgoing_of(token: str, task: Task, column: Column) -> Outgoing:
    return Outgoing(
        token, task.id, task.model, task.lane, task.picture_sha256, column.prompt, column.options
    )
