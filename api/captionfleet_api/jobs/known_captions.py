"""The caption cache: a question that was answered before is not computed again.

A question is picture, model, revision, prompt and options; the revision stands for the weights
and code that answered.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet.messages import ResultMessage
from captionfleet.resources import ModelSpec
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.store.tables import Column, KnownCaption, KnownRevision, Task, TaskState

_KEYS_PER_STATEMENT = 500


@dataclass(frozen=True)
class Answered:
    """A caption fresh from a worker, with the column that asked for it."""

    result: ResultMessage
    prompt: str
    options: Mapping[str, Any]


def question_of(model: str, revision: str, prompt: str, options: Mapping[str, Any]) -> bytes:
    """Digest of what a column asks of every picture."""
    canonical = json.dumps([model, revision, prompt, options], sort_keys=True)
    return hashlib.sha256(canonical.encode()).digest()


def key_of(picture_sha256: str, question: bytes) -> bytes:
    """The 32 bytes under which the answer is kept."""
    return hashlib.sha256(question + picture_sha256.encode()).digest()


async def trusted_revisions(
    session: AsyncSession, specs: Mapping[str, ModelSpec], fleet_view: FleetView
) -> dict[str, str]:
    """The revision that would answer for each model now, as far as that is certain.

    A loaded copy knows. Without one only weights from a hub are taken to be what they were:
    a folder or custom code may have changed while nobody had it loaded.
    """
    loaded: dict[str, str] = {}
    remembered: list[tuple[str, str]] = []
    for model, spec in specs.items():
        fingerprint = spec.fingerprint()
        if revision := fleet_view.revision_of(model, fingerprint):
            loaded[model] = revision
        elif spec.source and spec.source.hugging_face and not spec.custom:
            remembered.append((model, fingerprint))
    if not remembered:
        return loaded
    rows = await session.execute(
        select(KnownRevision.model, KnownRevision.revision).where(
            tuple_(KnownRevision.model, KnownRevision.fingerprint).in_(remembered)
        )
    )
    return {row.model: row.revision for row in rows} | loaded


async def fill(session: AsyncSession, tasks: Sequence[Task], revisions: Mapping[str, str]) -> int:
    """Answer those of the pending `tasks` whose answer is known; return how many.

    `tasks` belong to the session, as do their columns. The caller numbers the changes and
    completes jobs.
    """
    asked = [task for task in tasks if task.model in revisions]
    columns = await _columns(session, asked)
    questions = {
        id: question_of(column.model, revisions[column.model], column.prompt, column.options)
        for id, column in columns.items()
    }
    keys = {task.id: key_of(task.picture_sha256, questions[task.column]) for task in asked}
    known = await _look_up(session, set(keys.values()))
    filled = [task for task in asked if keys[task.id] in known]
    for task in filled:
        _answer(task, known[keys[task.id]])
    return len(filled)


async def remember(session: AsyncSession, answers: Sequence[Answered]) -> None:
    """Keep new captions, and which revision each fingerprint of a model has."""
    await _remember_revisions(session, [answer.result for answer in answers])
    by_key = {
        key_of(
            a.result.sha256,
            question_of(a.result.model, a.result.revision, a.prompt, a.options),
        ): a.result
        for a in answers
        if a.result.revision
    }
    known = await _look_up(session, by_key.keys())
    now = time.time()
    session.add_all(
        KnownCaption(
            key=key,
            caption=result.text,
            finish=result.finish,
            seconds=result.seconds,
            tokens=result.tokens,
            revision=result.revision,
            created_at=now,
        )
        for key, result in by_key.items()
        if key not in known
    )


async def _remember_revisions(session: AsyncSession, results: Sequence[ResultMessage]) -> None:
    latest = {
        (result.model, result.fingerprint): result.revision
        for result in results
        if result.fingerprint and result.revision
    }
    if not latest:
        return
    rows = await session.scalars(
        select(KnownRevision).where(
            tuple_(KnownRevision.model, KnownRevision.fingerprint).in_(list(latest))
        )
    )
    known = {(row.model, row.fingerprint): row for row in rows}
    for (model, fingerprint), revision in latest.items():
        row = known.get((model, fingerprint))
        if row is None:
            row = KnownRevision(model=model, fingerprint=fingerprint, revision="", seen_at=0)
            session.add(row)
        if row.revision != revision:
            row.revision, row.seen_at = revision, time.time()


async def _columns(session: AsyncSession, tasks: Sequence[Task]) -> dict[str, Column]:
    ids = {task.column for task in tasks}
    return {id: await session.get_one(Column, id) for id in ids}  # loaded already, as a rule


async def _look_up(session: AsyncSession, keys: Iterable[bytes]) -> dict[bytes, KnownCaption]:
    wanted = list(keys)
    found: dict[bytes, KnownCaption] = {}
    for start in range(0, len(wanted), _KEYS_PER_STATEMENT):
        some = wanted[start : start + _KEYS_PER_STATEMENT]
        rows = await session.scalars(select(KnownCaption).where(KnownCaption.key.in_(some)))
        found |= {row.key: row for row in rows}
    return found


def _answer(task: Task, known: KnownCaption) -> None:
    task.state = TaskState.CAPTIONED
    task.cached = True
    task.caption = known.caption
    task.finish = known.finish
    task.seconds = known.seconds
    task.tokens = known.tokens
    task.revision = known.revision
    task.worker = None
    task.finished_at = time.time()
