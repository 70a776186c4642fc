"""Writes results: all that is there in one transaction, then acks. The first terminal state wins.

A result is acked only after the commit: whoever dies in between gets it again, and then it is a
duplicate.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet.faults import fault_point
from captionfleet.messages import Outcome, ResultMessage
from captionfleet_api.jobs import known_captions, metrics, transitions
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.judging import Asked, Verdict, judge, storable
from captionfleet_api.jobs.loops import finish
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import Attempt, Column, Lane, Task

log = structlog.get_logger()

PREFETCH = 200
_WRITTEN_AT_ONCE = 100
_GATHER_SECONDS = 0.02


class Answer(Protocol):
    """The part of a Delivery that the writer needs."""

    @property
    def body(self) -> bytes: ...

    async def ack(self) -> None: ...


@dataclass
class _Row:
    """What the database knows of a token."""

    task: Task
    attempt_ended: bool
    column: Column

    def asked(self) -> Asked:
        task = self.task
        return Asked(task.id, task.model, task.picture_sha256, task.state, self.attempt_ended)


@dataclass
class _Written:
    """What one transaction did, to be told after its commit."""

    jobs: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    discarded: Counter[tuple[str, str]] = field(default_factory=Counter)


class Results:
    """One per api. `take` is the consumer's handler; run `write_some` for ever."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes
        self._waiting: asyncio.Queue[Answer] = asyncio.Queue()
        self._batch: list[Answer] = []
        self._idle_since = 0.0
        self._taken = 0
        self._written = 0
        self._progress = asyncio.Condition()

    async def take(self, answer: Answer) -> None:
        self._taken += 1
        self._waiting.put_nowait(answer)

    async def caught_up(self) -> None:
        """Wait until everything taken before this call is written."""
        taken = self._taken
        async with self._progress:
            await self._progress.wait_for(lambda: self._written >= taken)

    async def write_some(self) -> None:
        """Take what is there, at most 100; write it, commit, ack. Repeats after errors."""
        if not self._batch:
            self._batch = await self._gather()
        await finish(self._write_and_ack(self._batch))
        async with self._progress:
            self._written += len(self._batch)
            self._progress.notify_all()
        self._batch = []
        self._idle_since = time.monotonic()

    async def _gather(self) -> list[Answer]:
        """In a stream of results, what comes in 20 ms. A single one, for which somebody may be
        waiting, is written at once."""
        batch = [await self._waiting.get()]
        streaming = time.monotonic() - self._idle_since < _GATHER_SECONDS
        if streaming and self._waiting.qsize() < _WRITTEN_AT_ONCE:
            await asyncio.sleep(_GATHER_SECONDS)
        while not self._waiting.empty() and len(batch) < _WRITTEN_AT_ONCE:
            batch.append(self._waiting.get_nowait())
        return batch

    async def _write_and_ack(self, batch: Sequence[Answer]) -> None:
        written = await self._write([_decoded(answer) for answer in batch])
        fault_point("results: after commit, before ack")
        for answer in batch:
            await answer.ack()
        for (model, outcome), count in written.outcomes.items():
            metrics.results.labels(model, outcome).inc(count)
        for (model, verdict), count in written.discarded.items():
            metrics.discarded.labels(model, verdict).inc(count)
        self._changes.tell(written.jobs, written.models)

    async def _write(self, decoded: Sequence[ResultMessage | None]) -> _Written:
        results = [result for result in decoded if result]
        written = _Written(discarded=Counter({("", "malformed"): len(decoded) - len(results)}))
        now = time.time()
        async with self._database.write() as session:
            rows = await _rows(session, {result.token for result in results})
            accepted = [result for result in results if _apply(result, rows, written, now)]
            changed = {rows[result.token].task.id: rows[result.token].task for result in accepted}
            await known_captions.remember(session, list(_answers(accepted, rows)))
            await transitions.record(session, list(changed.values()), now)
            fault_point("results: before commit")
        return written


def _decoded(answer: Answer) -> ResultMessage | None:
    try:
        return storable(ResultMessage.model_validate_json(answer.body))
    except ValidationError as error:
        log.warning("a message on the results queue is no result", problems=error.error_count())
        return None


async def _rows(session: AsyncSession, tokens: Collection[str]) -> dict[str, _Row]:
    found = await session.execute(
        select(Attempt.token, Attempt.ended, Task, Column)
        .join(Task, Task.id == Attempt.task)
        .join(Column, Column.id == Task.column)
        .where(Attempt.token.in_(tokens))
        .order_by(Task.id)
        .with_for_update(of=Task)
    )
    return {token: _Row(task, ended, column) for token, ended, task, column in found}


def _apply(result: ResultMessage, rows: Mapping[str, _Row], written: _Written, now: float) -> bool:
    """Change the task as its result demands; false if the result has no effect."""
    row = rows.get(result.token)
    verdict = judge(result, row.asked() if row else None)
    if row is None or verdict not in (Verdict.ACCEPT, Verdict.PUT_BACK):
        written.discarded[row.task.model if row else "", verdict] += 1
        return False
    if verdict is Verdict.PUT_BACK:
        transitions.to_pending(
            row.task, Lane.SUSPECT if result.outcome is Outcome.SUSPECT else None
        )
    elif result.outcome is Outcome.CAPTIONED:
        transitions.to_captioned(row.task, result, now)
    else:
        transitions.to_failed(
            row.task,
            result.error_code or "model_error",
            result.error_message or "the worker gave no reason",
            now,
        )
    written.outcomes[result.model, result.outcome] += 1
    written.jobs.add(row.task.job)
    written.models.add(result.model)
    return True


def _answers(
    accepted: Sequence[ResultMessage], rows: Mapping[str, _Row]
) -> Iterator[known_captions.Answered]:
    for result in accepted:
        if result.outcome is Outcome.CAPTIONED:
            column = rows[result.token].column
            yield known_captions.Answered(result, column.prompt, column.options)
