"""The story of a job: every change told once, in order, and taken up where it broke off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.api.doors import Doors, open_doors
from tests.conftest import eventually

from captionfleet.messages import Heartbeat
from captionfleet_api.jobs import events
from captionfleet_api.jobs.events import Event, Story
from captionfleet_api.jobs.shapes import TaskShape
from captionfleet_api.store.tables import Attempt


@pytest.fixture
async def doors(tmp_path: Path, database_url: str) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path, database_url=database_url) as doors:
        yield doors


def story_of(doors: Doors, job: str) -> Story:
    parts = doors.parts
    return Story(parts.database, parts.fleet_view, parts.changes, job, parts.ending)


async def told(doors: Doors, job: str, after: int | None = 0) -> list[Event]:
    """The whole story of a job that ends."""
    return [event async for event in story_of(doors, job).tell(after)]


@asynccontextmanager
async def reading(doors: Doors, job: str, after: int | None = 0) -> AsyncIterator[list[Event]]:
    """The events as they come."""
    heard: list[Event] = []

    async def read() -> None:
        async for event in story_of(doors, job).tell(after):
            heard.append(event)

    task = asyncio.create_task(read())
    yield heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def states(heard: list[Event]) -> list[str]:
    return [event.shape.state for event in heard if isinstance(event.shape, TaskShape)]


async def test_a_finished_job_is_told_and_done(doors: Doors) -> None:
    job = await doors.make_job("red", "blue")
    await doors.caption(*[task["id"] for task in await doors.tasks(job["id"])])

    heard = await told(doors, job["id"])
    assert [event.kind for event in heard] == ["task", "task", "job", "done"]
    assert states(heard) == ["captioned", "captioned"]
    numbers = [event.id for event in heard]
    assert numbers == sorted(numbers, key=lambda number: number or 0)
    assert all(numbers)


async def test_changes_are_told_as_they_happen(doors: Doors) -> None:
    job = await doors.make_job("red")
    (task,) = await doors.tasks(job["id"])
    async with reading(doors, job["id"]) as heard:
        await eventually(lambda: states(heard) == ["pending"])
        await doors.queue(task["id"])
        await eventually(lambda: states(heard) == ["pending", "queued"])
        await doors.caption(task["id"])
        await eventually(lambda: heard[-1].kind == "done")
    assert states(heard) == ["pending", "queued", "captioned"]


async def test_a_reader_resumes_behind_what_it_has_seen(doors: Doors) -> None:
    job = await doors.make_job("red", "blue", "teal")
    tasks = [task["id"] for task in await doors.tasks(job["id"])]
    await doors.caption(tasks[0])
    async with reading(doors, job["id"]) as heard:
        await eventually(lambda: [e for e in heard if e.kind == "job"])
    seen = heard[-1].id
    await doors.caption(tasks[1], tasks[2])

    heard = await told(doors, job["id"], seen)
    assert [e.shape.id for e in heard if isinstance(e.shape, TaskShape)] == tasks[1:]


async def test_of_one_change_to_many_tasks_only_the_last_says_it_was_seen(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_PAGE", 2)
    job = await doors.make_job("red", "blue", "teal", "navy", "lime")
    await doors.client.post(f"/api/v1/jobs/{job['id']}/cancel")

    heard = await told(doors, job["id"])
    tasks = [event for event in heard if event.kind == "task"]
    assert [event.id is None for event in tasks] == [True, True, True, True, False]
    assert len({event.shape.id for event in tasks if event.shape}) == 5


async def test_whoever_breaks_off_within_a_change_hears_the_rest_of_it(doors: Doors) -> None:
    job = await doors.make_job("red", "blue", "teal")
    await doors.client.post(f"/api/v1/jobs/{job['id']}/cancel")
    heard = await told(doors, job["id"])
    last_seen = next((event.id for event in heard[:2] if event.id), 0)
    assert len(states(await told(doors, job["id"], last_seen))) == 3


async def test_a_fresh_reader_hears_the_latest_changes_alone(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_RECENT", 2)
    job = await doors.make_job("red", "blue", "teal", "navy")
    await doors.caption(*[task["id"] for task in await doors.tasks(job["id"])])
    assert len(states(await told(doors, job["id"], None))) == 2
    assert len(states(await told(doors, job["id"], 0))) == 4


async def test_a_task_that_an_engine_works_on_is_told_as_running(doors: Doors) -> None:
    job = await doors.make_job("red")
    (task,) = await doors.tasks(job["id"])
    await doors.queue(task["id"])
    async with doors.parts.database.write() as session:
        attempt = Attempt(token="t1", task=task["id"], model="alpha", lane="model", created_at=0)
        session.add(attempt)
    beat = Heartbeat(
        worker="w", pool="p", incarnation="i", host="h", pid=1, device="CPU", memory_total=1,
        memory_used=0, sent_at=0, held=["t1"],
    )  # fmt: skip
    async with reading(doors, job["id"]) as heard:
        await eventually(lambda: states(heard) == ["queued"])
        doors.parts.fleet_view.hear(beat.model_copy(update={"running": ["t1"]}))
        doors.parts.changes.tell_everyone()
        await eventually(lambda: states(heard) == ["queued", "running"])
        assert (await doors.get(f"/jobs/{job['id']}"))["counts"]["running"] == 1
        doors.parts.fleet_view.hear(beat)
        doors.parts.changes.tell_everyone()
        await eventually(lambda: states(heard) == ["queued", "running", "queued"])


async def test_silence_is_broken_by_signs_of_life(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.01)
    job = await doors.make_job("red")
    async with reading(doors, job["id"]) as heard:
        await eventually(lambda: [e.kind for e in heard].count("silence") >= 3)


async def test_the_story_ends_with_the_program_and_with_the_job(doors: Doors) -> None:
    job, other = await doors.make_job("red"), await doors.make_job("red")
    story = asyncio.create_task(told(doors, job["id"]))
    await eventually(lambda: job["id"] in doors.parts.changes._streams)
    await doors.client.delete(f"/api/v1/jobs/{job['id']}")
    assert "done" not in [event.kind for event in await story]

    story = asyncio.create_task(told(doors, other["id"]))
    await eventually(lambda: other["id"] in doors.parts.changes._streams)
    doors.parts.ending.set()
    assert "done" not in [event.kind for event in await story]
    assert not doors.parts.changes._streams
