"""The keyed queue: one task per key, nothing forgotten, failures come back later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.conftest import eventually

from captionfleet_operator import keyed_queue
from captionfleet_operator.keyed_queue import KeyedQueue


class Work:
    """Reconciles keys and notes when; holds while `gate` is closed."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def reconcile(self, key: str) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        if self.failures:
            self.failures -= 1
            raise OSError("not now")
        self.done.append(key)


@asynccontextmanager
async def running(work: Work) -> AsyncIterator[KeyedQueue[str]]:
    queue: KeyedQueue[str] = KeyedQueue(work.reconcile, at_once=3)
    task = asyncio.create_task(queue.run())
    yield queue
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_added_many_times_before_its_turn_is_done_once() -> None:
    work = Work()
    async with running(work) as queue:
        for _ in range(10):
            queue.add("a")
        await eventually(lambda: queue.idle)

    assert work.done == ["a"]


async def test_a_key_added_while_it_is_worked_on_runs_once_more_and_never_twice_at_once() -> None:
    work = Work()
    work.gate.clear()
    async with running(work) as queue:
        queue.add("a")
        await eventually(lambda: work.at_once == 1)
        queue.add("a")
        queue.add("a")
        work.gate.set()
        await eventually(lambda: queue.idle)

    assert (work.done, work.most_at_once) == (["a", "a"], 1)


async def test_different_keys_run_side_by_side() -> None:
    work = Work()
    work.gate.clear()
    async with running(work) as queue:
        for key in "abcd":
            queue.add(key)
        await eventually(lambda: work.at_once == 3)
        work.gate.set()
        await eventually(lambda: queue.idle)

    assert sorted(work.done) == ["a", "b", "c", "d"]


async def test_what_failed_comes_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed_queue, "_FIRST_PAUSE_SECONDS", 0.01)
    work = Work()
    work.failures = 3
    async with running(work) as queue:
        queue.add("a")
        await eventually(lambda: queue.idle)

    assert work.done == ["a"]


async def test_news_about_a_key_do_not_wait_for_its_pause() -> None:
    work = Work()
    work.failures = 1
    async with running(work) as queue:
        queue.add("a")
        await eventually(lambda: queue.failing("a"))

        queue.add("a")

        await eventually(lambda: work.done == ["a"], seconds=0.5)
