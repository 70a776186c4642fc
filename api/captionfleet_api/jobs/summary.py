"""What a job's columns come to: how many captions, how fast, how long, how many stars."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import ColumnElement, Integer, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.jobs.shapes import ColumnSummary, Summary
from captionfleet_api.store.tables import OPEN_STATES, Column, Task, TaskState

Histogram = dict[int, int]
"""Value -> how often."""


async def summary(session: AsyncSession, job: str) -> Summary:
    ids = await session.scalars(
        select(Column.id).where(Column.job == job).order_by(Column.position)
    )
    states = await _states(session, job)
    stars = await _stars(session, job)
    milliseconds = await _histograms(session, job, cast(Task.seconds * 1000, Integer))
    words = await _histograms(session, job, _words())
    return Summary(
        columns=[
            ColumnSummary(
                id=column,
                captioned=states[column].get(TaskState.CAPTIONED, 0),
                failed=states[column].get(TaskState.FAILED, 0),
                waiting=sum(states[column].get(state, 0) for state in OPEN_STATES),
                median_seconds=_seconds(median(milliseconds[column])),
                median_words=median(words[column]),
                starred=stars.get(column, 0),
            )
            for column in ids
        ]
    )


def median(histogram: Mapping[int, int]) -> float | None:
    """The middle value, or the mean of the two middle ones; None of nothing."""
    total = sum(histogram.values())
    if not total:
        return None
    middle = {(total - 1) // 2, total // 2}
    found: list[int] = []
    seen = 0
    for value in sorted(histogram):
        found += [value for place in middle if seen <= place < seen + histogram[value]]
        seen += histogram[value]
    return sum(found) / len(found)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


async def _states(session: AsyncSession, job: str) -> defaultdict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    query = (
        select(Task.column, Task.state, func.count())
        .where(Task.job == job)
        .group_by(Task.column, Task.state)
    )
    for column, state, count in await session.execute(query):
        found[column][state] = count
    return found


async def _stars(session: AsyncSession, job: str) -> dict[str, int]:
    query = (
        select(Task.column, func.count())
        .where(Task.job == job, Task.starred.is_(True))
        .group_by(Task.column)
    )
    return {column: count for column, count in await session.execute(query)}


async def _histograms(
    session: AsyncSession, job: str, value: ColumnElement[int]
) -> defaultdict[str, Histogram]:
    """Per column, how often each value occurs among its captions: small even for large jobs."""
    found: defaultdict[str, Histogram] = defaultdict(dict)
    query = (
        select(Task.column, value, func.count())
        .where(Task.job == job, Task.state == TaskState.CAPTIONED, value.is_not(None))
        .group_by(Task.column, value)
    )
    for column, each, count in await session.execute(query):
        found[column][each] = count
    return found


def _words() -> ColumnElement[int]:
    text = func.trim(Task.caption)
    spaces = func.length(text) - func.length(func.replace(text, " ", ""))
    return cast(spaces + 1, Integer)
