"""Finds attempts that got lost, on evidence and never on age, and has their tasks released again.

An attempt is lost if at two checks no fresh heartbeat listed its token, its queue held nothing,
and every result that had come was written. What is under way moves queue -> worker -> results
queue -> database, and each check looks in this order, so that nothing slips past it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet.broker.link import CONNECTION_TROUBLE
from captionfleet.broker.names import Names
from captionfleet_api.jobs import metrics, transitions
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.fleet_view import FRESH_SECONDS, FleetView
from captionfleet_api.jobs.loops import finish
from captionfleet_api.jobs.results import Results
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import Attempt, Lane, Task, TaskState

log = structlog.get_logger()

MOST_LOSSES = 3


class Looking(Protocol):
    """The part of a Session that the sweeper needs."""

    async def ready_count(self, queue: str) -> int | None: ...


class Connected(Protocol):
    """The part of a Link that the sweeper needs."""

    @property
    def session(self) -> Looking | None: ...

    async def connected(self) -> Looking: ...


@dataclass(frozen=True)
class Out:
    """An attempt that the broker confirmed and nobody has answered."""

    token: str
    model: str
    lane: str


def missing(
    out: Iterable[Out], empty: Collection[tuple[str, str]], held: Collection[str]
) -> set[str]:
    """Tokens that are neither with a worker nor can be in their queue, being (model, lane)."""
    return {
        each.token for each in out if each.token not in held and (each.model, each.lane) in empty
    }


class Sweeper:
    """One per api. Run `step` for ever; checks are `interval` seconds apart."""

    def __init__(
        self,
        link: Connected,
        names: Names,
        results_queue: str,
        database: Database,
        fleet_view: FleetView,
        results: Results,
        changes: Changes,
        interval: float,
    ) -> None:
        self._link = link
        self._names = names
        self._results_queue = results_queue
        self._database = database
        self._fleet_view = fleet_view
        self._results = results
        self._changes = changes
        self._interval = interval
        self._session: Looking | None = None
        self._suspected: set[str] = set()

    async def step(self) -> None:
        """One check, after its pause. A new connection starts the evidence from nothing."""
        session = await self._link.connected()
        if session is not self._session:
            self._session, self._suspected = session, set()
            await asyncio.sleep(min(FRESH_SECONDS, self._interval))  # let every worker be heard
        else:
            await asyncio.sleep(self._interval)
        try:
            if self._link.session is session:
                await self.check(session)
        except CONNECTION_TROUBLE as error:
            log.info("a check for lost attempts was cut short", why=str(error))

    async def check(self, session: Looking) -> None:
        """Look once; release again what was missing at the last check too."""
        async with self._database.read() as reading:
            out = await _out(reading)
        empty = {
            place
            for place in {(each.model, each.lane) for each in out}
            if not await session.ready_count(self._queue(*place))
        }
        gone = missing(out, empty, self._fleet_view.held_tokens())
        if gone and await session.ready_count(self._results_queue):
            gone = set()  # their results may be among those that wait to be read
        await self._results.caught_up()
        lost = gone & self._suspected
        self._suspected = gone - lost
        if lost:
            await finish(self._release_again(lost))

    def _queue(self, model: str, lane: str) -> str:
        if lane == Lane.SUSPECT:
            return self._names.suspect_queue(model)
        return self._names.model_queue(model)

    async def _release_again(self, lost: set[str]) -> None:
        now = time.time()
        async with self._database.write() as session:
            found = await _still_lost(session, lost)
            for task, seen_running in found:
                lose(task, seen_running, now)
            tasks = [task for task, _ in found]
            await transitions.record(session, tasks, now)
        for model, attempts in Counter(task.model for task in tasks).items():
            log.warning("lost attempts are released again", model=model, attempts=attempts)
            metrics.swept.labels(model).inc(attempts)
        self._changes.tell({task.job for task in tasks}, {task.model for task in tasks})


def lose(task: Task, seen_running: bool, now: float) -> None:
    """Release the task again, unless attempts at it were lost while running too often."""
    task.losses += seen_running
    if task.losses >= MOST_LOSSES:
        message = f"{task.losses} attempts were lost while they ran: see the workers' logs"
        transitions.to_failed(task, "lost", message, now)
    else:
        transitions.to_pending(task)


async def _out(session: AsyncSession) -> list[Out]:
    rows = await session.execute(
        select(Attempt.token, Attempt.model, Attempt.lane)
        .join(Task, Task.id == Attempt.task)
        .where(
            Task.state == TaskState.QUEUED, Attempt.ended.is_(False), Attempt.confirmed.is_(True)
        )
    )
    return [Out(*row) for row in rows]


async def _still_lost(session: AsyncSession, tokens: set[str]) -> list[tuple[Task, bool]]:
    """Those that were not answered meanwhile, with whether they were seen running."""
    rows = await session.execute(
        select(Task, Attempt.seen_running)
        .join(Attempt, Attempt.task == Task.id)
        .where(Attempt.token.in_(tokens), Attempt.ended.is_(False), Task.state == TaskState.QUEUED)
        .order_by(Task.id)
        .with_for_update(of=Task)
    )
    return [(task, seen_running) for task, seen_running in rows]
