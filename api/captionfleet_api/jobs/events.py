"""The story of one job as it happens: which tasks changed, how the job stands, that it is done.

An event's `id` is a change number: whoever saw it has seen every change up to that number.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.job_reading import job_shape, last_change
from captionfleet_api.jobs.loops import finish
from captionfleet_api.jobs.shapes import JobShape, TaskShape
from captionfleet_api.jobs.task_reading import (
    Change,
    changed_tasks,
    running_tasks,
    tasks_by_id,
)
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import JobState, Task, TaskState

HEARTBEAT_SECONDS = 15.0
_GATHER_SECONDS = 0.1
_RECENT = 200
_PAGE = 500
# Ids begin with a digit or a to f. In every collation; "~" sorts before digits in some.
_AFTER_ALL_IDS = "g"


@dataclass(frozen=True)
class Event:
    kind: str
    """task, job, done; or silence, which only keeps the connection alive."""
    id: int | None = None
    """None while further tasks of the same change are to come."""
    shape: TaskShape | JobShape | None = None


@dataclass(frozen=True)
class _Look:
    found: list[Change]
    whole: bool
    """Nothing more has changed; the rest is told with it."""
    number: int | None = None
    job: JobShape | None = None
    flipped: list[TaskShape] = field(default_factory=list)


@dataclass
class Story:
    """One reader's way through the changes of one job.

    A reader may leave at any moment, but never in mid-query: that would cost a connection.
    """

    database: Database
    fleet_view: FleetView
    changes: Changes
    job: str
    ending: asyncio.Event
    """Set when the program stops."""
    _place: tuple[int, str] = (-1, _AFTER_ALL_IDS)
    _told: JobShape | None = None
    _running: set[str] = field(default_factory=set)

    async def tell(self, after: int | None) -> AsyncIterator[Event]:
        """Everything after that change number, until the job is done or gone.

        With None it begins with the last 200 changes, so that a reader who looked at the job
        just before misses nothing.
        """
        if after is not None:
            self._place = (after, _AFTER_ALL_IDS)
        else:
            self._place = await finish(self._begin())
        with self.changes.following(self.job) as changed:
            while not self.ending.is_set():
                changed.clear()
                ended = False
                async for event in self._news():
                    yield event
                    ended = event.kind == "done"
                if ended or self._told is None:
                    return
                async for event in self._silence(changed):
                    yield event

    async def _news(self) -> AsyncIterator[Event]:
        """What happened since the last look. Ends with `done` if the job is not running."""
        while not (look := await finish(self._look())).whole:
            *some, last = look.found
            for event in self._numbered(some, last):
                yield event
            yield Event("task", shape=last.task)
        for event in self._numbered(look.found, None):
            yield event
        for task in look.flipped:
            yield Event("task", shape=task)
        if look.job and look.job != self._told:
            yield Event("job", look.number, look.job)
        if look.job and look.job.state != JobState.RUNNING:
            yield Event("done", look.number, look.job)
        self._told = look.job

    async def _look(self) -> "_Look":
        """One page of changes; with the last one, how the job stands at that very moment."""
        async with self.database.read() as session:
            found = await changed_tasks(session, self.fleet_view, self.job, self._place, _PAGE)
            if len(found) == _PAGE:
                return _Look(found, whole=False)
            return _Look(
                found,
                whole=True,
                number=await last_change(session, self.job),
                job=await job_shape(session, self.fleet_view, self.job),
                flipped=await self._flipped(session, found),
            )

    async def _begin(self) -> tuple[int, str]:
        async with self.database.read() as session:
            return await _recent(session, self.job)

    def _numbered(self, found: list[Change], following: Change | None) -> list[Event]:
        """A change may touch many tasks: only the last of them may claim that it was seen."""
        events = []
        for change, after in zip(found, [*found, following][1:], strict=True):
            complete = after is None or after.number != change.number
            events.append(Event("task", change.number if complete else None, change.task))
        last = following or (found[-1] if found else None)
        if last:
            self._place = (last.number, last.task.id)
        return events

    async def _flipped(self, session: AsyncSession, found: list[Change]) -> list[TaskShape]:
        """Tasks that an engine has begun or ceased to work on, which no row tells."""
        running = await running_tasks(session, self.fleet_view)
        ours = select(Task.id).where(
            Task.id.in_(running), Task.job == self.job, Task.state == TaskState.QUEUED
        )
        now = set(await session.scalars(ours))
        flipped = (now ^ self._running) - {change.task.id for change in found}
        self._running = now
        return await tasks_by_id(session, self.fleet_view, self.job, sorted(flipped))

    async def _silence(self, changed: asyncio.Event) -> AsyncIterator[Event]:
        """Wait for a change, with a sign of life every 15 s; then a little, to gather more."""
        while not await either(changed, self.ending, HEARTBEAT_SECONDS):
            yield Event("silence")
        if not self.ending.is_set():
            await asyncio.sleep(_GATHER_SECONDS)


async def _recent(session: AsyncSession, job: str) -> tuple[int, str]:
    query = (
        select(Task.changed, Task.id)
        .where(Task.job == job)
        .order_by(Task.changed.desc(), Task.id.desc())
        .offset(_RECENT)
        .limit(1)
    )
    row = (await session.execute(query)).one_or_none()
    return (row.changed, row.id) if row else (-1, _AFTER_ALL_IDS)


async def either(one: asyncio.Event, other: asyncio.Event, seconds: float) -> bool:
    """Wait until one of them is set; false if that takes longer."""
    waits = [asyncio.create_task(event.wait()) for event in (one, other)]
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for wait in waits:
            wait.cancel()
