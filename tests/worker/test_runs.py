"""Batches in flight: one clock at a time, and the oldest to blame."""

import asyncio

import pytest
from tests.conftest import eventually

from captionfleet_worker.engine.protocol import Answer
from captionfleet_worker.runs import NotBegun, Run, Runs

CAPTION = [Answer("a cat", "stop", 2, None, None)]


def nothing() -> None: ...


async def test_answers_reach_who_asked_and_beginnings_are_told() -> None:
    told: list[str] = []
    runs = Runs(1000, late=lambda run: None)
    first = runs.add(1, lambda: told.append("first"))
    second = runs.add(1, lambda: told.append("second"))
    runs.begun(first.number)
    runs.answered(first.number, CAPTION)
    assert first.answers.result() == CAPTION and told == ["first"]
    runs.begun(second.number)
    assert not second.answers.done() and told == ["first", "second"]


async def test_only_the_oldest_can_be_late() -> None:
    late: list[Run] = []
    runs = Runs(0.01, late.append)
    first, second = runs.add(1, nothing), runs.add(1, nothing)
    await eventually(lambda: late)
    assert late == [first]
    runs.answered(first.number, CAPTION)
    await eventually(lambda: late == [first, second])


async def test_the_clock_starts_anew_when_the_device_begins() -> None:
    loop, late = asyncio.get_running_loop(), []
    runs = Runs(0.05, lambda run: late.append(loop.time()))
    run = runs.add(1, nothing)
    await asyncio.sleep(0)
    loop.call_later(0.03, runs.begun, run.number)
    began = loop.time()
    await eventually(lambda: late)
    assert late[0] - began > 0.079


async def test_an_end_is_the_oldest_ones_and_others_may_run_again() -> None:
    runs = Runs(1000, late=lambda run: None)
    first, second = runs.add(1, nothing), runs.add(1, nothing)
    runs.end(RuntimeError("it crashed"))
    with pytest.raises(RuntimeError, match="crashed"):
        await first.answers
    with pytest.raises(NotBegun):
        await second.answers


async def test_who_went_away_is_told_nothing_and_holds_nobody_up() -> None:
    runs = Runs(1000, late=lambda run: None)
    gone, next_one = runs.add(1, nothing), runs.add(1, nothing)
    gone.answers.cancel()
    runs.begun(gone.number)
    runs.answered(gone.number, CAPTION)
    runs.answered(next_one.number, CAPTION)
    assert await next_one.answers == CAPTION
