"""Brings claimed attempts to the broker and records what became of each.

Many confirms are in flight at once. An attempt of which nobody knows whether it arrived stays
unconfirmed in the database and is published again, with the same token, once that is possible:
after a lost connection exactly as after a crash. What another api of the same database is
publishing at this moment looks the same: that is left to it for a minute.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, Protocol

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet.broker.link import NotConfirmed, Unroutable
from captionfleet.broker.names import Names
from captionfleet.faults import fault_point
from captionfleet.messages import TaskMessage
from captionfleet_api.images.blobs import BlobMissing, Blobs
from captionfleet_api.jobs import metrics, transitions
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.claims import Outgoing, outgoing_of
from captionfleet_api.jobs.holds import Holds
from captionfleet_api.jobs.loops import finish
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import Attempt, Column, Lane, Task, TaskState

log = structlog.get_logger()

IN_FLIGHT = 32
_RECORDED_AT_ONCE = 200
_PAUSE_WHEN_UNSURE = 1.0
_LOOK_SECONDS = 30.0
_LEFT_TO_OTHERS_SECONDS = 60.0


class Broker(Protocol):
    """The part of a Link that publishing needs."""

    async def connected(self) -> object: ...

    async def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        *,
        headers: dict[str, Any] | None = None,
        reply_to: str | None = None,
        content_type: str = "application/json",
        mandatory: bool = True,
        persistent: bool = True,
    ) -> None: ...


class Fate(StrEnum):
    """What became of a published attempt."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    """No queue: it was not sent."""
    PICTURE_GONE = "picture_gone"
    UNSURE = "unsure"
    """It may have arrived, or not."""


class Publisher:
    """One per api. Run `lane` IN_FLIGHT times, `record_some` and `repair` once, each for ever."""

    def __init__(
        self,
        broker: Broker,
        names: Names,
        reply_to: str,
        database: Database,
        blobs: Blobs,
        changes: Changes,
        holds: Holds,
    ) -> None:
        self._broker = broker
        self._names = names
        self._reply_to = reply_to
        self._database = database
        self._blobs = blobs
        self._changes = changes
        self._holds = holds
        self._waiting: asyncio.Queue[Outgoing] = asyncio.Queue()
        self._done: asyncio.Queue[tuple[Outgoing, Fate]] = asyncio.Queue()
        self._under_way: set[str] = set()
        self._unsure: set[str] = set()
        self._look_again = asyncio.Event()
        self._has_looked = False

    def send(self, outgoing: Iterable[Outgoing]) -> None:
        for each in outgoing:
            if each.token not in self._under_way:
                self._under_way.add(each.token)
                self._unsure.discard(each.token)
                self._waiting.put_nowait(each)

    def connected_anew(self) -> None:
        """A new session: whatever is unconfirmed may have been lost with the old one."""
        self._look_again.set()

    async def lane(self) -> None:
        """Publish one attempt."""
        outgoing = await self._waiting.get()
        self._done.put_nowait((outgoing, await self._fate(outgoing)))

    async def record_some(self) -> None:
        """Write down what became of published attempts, all at hand in one transaction."""
        done = [await self._done.get()]
        while not self._done.empty() and len(done) < _RECORDED_AT_ONCE:
            done.append(self._done.get_nowait())
        try:
            await finish(self._record(done))
        except Exception:
            for each in done:
                self._done.put_nowait(each)
            raise

    async def repair(self) -> None:
        """Publish again what is unconfirmed: when there is reason to look, and now and then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._look_again.wait()
        await self._broker.connected()
        self._look_again.clear()
        try:
            async with self._database.read() as session:
                unconfirmed = await _unconfirmed(session)
        except Exception:
            self._look_again.set()
            raise
        again = [each for each, since in unconfirmed if self._is_ours_to_send(each.token, since)]
        self._has_looked = True
        if again:
            for model, attempts in Counter(each.model for each in again).items():
                log.info("attempts are published again", model=model, attempts=attempts)
                metrics.republished.labels(model).inc(attempts)
            self.send(again)
        await asyncio.sleep(_PAUSE_WHEN_UNSURE)

    def _is_ours_to_send(self, token: str, since: float) -> bool:
        if token in self._under_way:
            return False
        # Whatever was there before us is most likely a dead api's, perhaps our own last life's.
        abandoned = time.time() - since > _LEFT_TO_OTHERS_SECONDS
        return token in self._unsure or not self._has_looked or abandoned

    async def _fate(self, outgoing: Outgoing) -> Fate:
        try:
            await self._publish(outgoing)
        except Unroutable:
            return Fate.UNROUTABLE
        except BlobMissing:
            return Fate.PICTURE_GONE
        except NotConfirmed:
            return Fate.UNSURE
        except Exception:
            log.exception(
                "publishing an attempt fails and is tried again",
                model=outgoing.model, task=outgoing.task,
            )  # fmt: skip
            return Fate.UNSURE
        return Fate.CONFIRMED

    async def _publish(self, outgoing: Outgoing) -> None:
        model = outgoing.model
        message = TaskMessage(
            task=outgoing.task,
            token=outgoing.token,
            model=model,
            sha256=outgoing.picture_sha256,
            reply_to=self._reply_to,
            prompt=outgoing.prompt,
            options=dict(outgoing.options),
            picture=await self._blobs.get(outgoing.picture_sha256),
            released_at=time.time(),
        )
        suspect = outgoing.lane == Lane.SUSPECT
        fault_point("relay: after commit, before publish")
        await self._broker.publish(
            self._names.tasks,
            self._names.suspect_key(model) if suspect else self._names.model_key(model),
            message.picture,
            headers=message.headers(),
            reply_to=message.reply_to,
            content_type="application/octet-stream",
        )
        # The confirm has come in, but nobody has taken note of it: to die here is to die before.
        fault_point("relay: after publish, before confirm")

    async def _record(self, done: Sequence[tuple[Outgoing, Fate]]) -> None:
        tokens = {fate: [each.token for each, its in done if its is fate] for fate in Fate}
        async with self._database.write() as session:
            await _confirm(session, tokens[Fate.CONFIRMED])
            back = await _take_back(session, tokens[Fate.UNROUTABLE])
            failed = await _fail(session, tokens[Fate.PICTURE_GONE])
        if tokens[Fate.CONFIRMED]:
            fault_point("relay: after confirm")
        for outgoing, fate in done:
            self._under_way.discard(outgoing.token)
            self._draw_conclusions(outgoing, fate)
        self._changes.tell(back | failed)

    def _draw_conclusions(self, outgoing: Outgoing, fate: Fate) -> None:
        metrics.published.labels(outgoing.model, fate).inc()
        if fate is Fate.CONFIRMED:
            self._holds.free(outgoing.model)
        elif fate is Fate.UNROUTABLE:
            self._holds.hold(outgoing.model)
        elif fate is Fate.UNSURE:
            self._unsure.add(outgoing.token)
            self._look_again.set()


async def _unconfirmed(session: AsyncSession) -> list[tuple[Outgoing, float]]:
    """With the Unix time since when each is out."""
    rows = await session.execute(
        select(Attempt.token, Attempt.created_at, Task, Column)
        .join(Task, Task.id == Attempt.task)
        .join(Column, Column.id == Task.column)
        .where(
            Attempt.confirmed.is_(False), Attempt.ended.is_(False), Task.state == TaskState.QUEUED
        )
    )
    return [(outgoing_of(token, task, column), since) for token, since, task, column in rows]


async def _confirm(session: AsyncSession, tokens: Sequence[str]) -> None:
    if tokens:
        await session.execute(
            update(Attempt).where(Attempt.token.in_(tokens)).values(confirmed=True)
        )


async def _take_back(session: AsyncSession, tokens: Sequence[str]) -> set[str]:
    """Never sent: the tasks wait again. Returns their jobs."""
    tasks = await _still_out(session, tokens)
    for task in tasks:
        transitions.to_pending(task)
    await transitions.record(session, tasks, time.time())
    return {task.job for task in tasks}


async def _fail(session: AsyncSession, tokens: Sequence[str]) -> set[str]:
    """Their pictures are not in the blob store. Returns the jobs."""
    tasks, now = await _still_out(session, tokens), time.time()
    for task in tasks:
        transitions.to_failed(
            task, "bad_picture", "the stored picture is gone: upload it again", now
        )
    await transitions.record(session, tasks, now)
    return {task.job for task in tasks}


async def _still_out(session: AsyncSession, tokens: Sequence[str]) -> Sequence[Task]:
    if not tokens:
        return ()
    return (
        await session.scalars(
            select(Task)
            .join(Attempt, Attempt.task == Task.id)
            .where(
                Attempt.token.in_(tokens),
                Attempt.ended.is_(False),
                Task.state == TaskState.QUEUED,
            )
            .order_by(Task.id)
            .with_for_update(of=Task)
        )
    ).all()
