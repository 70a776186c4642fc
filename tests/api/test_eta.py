"""How long a job still takes, by what is ahead of it and how fast its models go."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.api.flow_parts import Store, copy_of, heartbeat, open_store

from captionfleet_api.jobs.eta import job_eta
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.store.tables import Priority, Task


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path) as store:
        yield store


@pytest.fixture
def view() -> FleetView:
    """Model m at 10 pictures per second, n at 2."""
    view = FleetView()
    view.hear(heartbeat(copy_of("m", rates={1: 10.0}), copy_of("n", rates={1: 2.0})))
    return view


async def eta(store: Store, view: FleetView, job: str) -> float | None:
    async with store.database.read() as session:
        return await job_eta(session, view, job)


async def test_the_slowest_model_decides(store: Store, view: FleetView) -> None:
    job = await store.submit([b"cat", b"dog"], ["m", "n"])
    assert await eta(store, view, job) == 1.0


async def test_older_jobs_are_ahead_and_younger_ones_are_not(store: Store, view: FleetView) -> None:
    await store.submit([b"cat"] * 10)
    job = await store.submit([b"dog"] * 10)
    await store.submit([b"cow"] * 10)
    assert await eta(store, view, job) == 2.0


async def test_interactive_work_is_ahead_of_a_batch_whatever_its_age(
    store: Store, view: FleetView
) -> None:
    batch = await store.submit([b"dog"] * 10, priority=Priority.BATCH)
    urgent = await store.submit([b"cat"] * 10)
    assert await eta(store, view, batch) == 2.0
    assert await eta(store, view, urgent) == 1.0


async def test_ended_tasks_no_longer_count(store: Store, view: FleetView) -> None:
    job = await store.submit([b"cat", b"dog", b"cow"])
    first, _, last = await store.tasks(job)
    async with store.database.write() as session:
        for task in (first, last):
            (await session.get_one(Task, task.id)).state = "failed"
    assert await eta(store, view, job) == 0.1


async def test_an_unmeasured_model_gives_no_promise(store: Store, view: FleetView) -> None:
    job = await store.submit([b"cat"], ["m", "unmeasured"])
    assert await eta(store, view, job) is None
