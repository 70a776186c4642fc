"""What a job's columns come to: how many captions, how fast, how long, how many stars."""

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import ColumnElement, Integer, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet_api.jobs.shapes import ColumnSummary, Summary
from captionfleet_api.store.tables import OPEN_STATES, Column, Task, TaskState

Histogram = defaultdict[int, int]
"""Value -> how often."""


async def summary(session: AsyncSession, job: str) -> Summary:
    ids = await session.scalars(
        select(Column.id).where(Column.job == job).order_by(Column.position)
    )
    states, stars = await _states(session, job)
    milliseconds, words = await _histograms(session, job)
    return Summary(
        columns=[
            ColumnSummary(
                id=column,
                captioned=states[column][TaskState.CAPTIONED],
                failed=states[column][TaskState.FAILED],
                waiting=sum(states[column][state] for state in OPEN_STATES),
                median_seconds=_seconds(median(milliseconds[column])),
                median_words=median(words[column]),
                starred=stars[column],
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


async def _states(
    session: AsyncSession, job: str
) -> tuple[defaultdict[str, defaultdict[str, int]], defaultdict[str, int]]:
    """Column -> state -> how many tasks, and column -> how many stars."""
    states: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    stars: defaultdict[str, int] = defaultdict(int)
    query = (
        select(Task.column, Task.state, Task.starred, func.count())
        .where(Task.job == job)
        .group_by(Task.column, Task.state, Task.starred)
    )
    for column, state, starred, count in await session.execute(query):
        states[column][state] += count
        stars[column] += count * starred
    return states, stars


async def _histograms(
    session: AsyncSession, job: str
) -> tuple[defaultdict[str, Histogram], defaultdict[str, Histogram]]:
    """Column -> milliseconds, and column -> words, of its captions: small even for large jobs."""
    milliseconds: defaultdict[str, Histogram] = defaultdict(lambda: defaultdict(int))
    words: defaultdict[str, Histogram] = defaultdict(lambda: defaultdict(int))
    values = cast(Task.seconds * 1000, Integer).label("took"), _words().label("length")
    query = (
        select(Task.column, *values, func.count())
        .where(Task.job == job, Task.state == TaskState.CAPTIONED)
        # By their names: to PostgreSQL the same expression with other parameters is another.
        .group_by(Task.column, "took", "length")
    )
    for column, took, length, count in await session.execute(query):
        words[column][length] += count
        if took is not None:
            milliseconds[column][took] += count
    return milliseconds, words


def _words() -> ColumnElement[int]:
    text = func.trim(Task.caption)
    spaces = func.length(text) - func.length(func.replace(text, " ", ""))
    return cast(spaces + 1, Integer)
