"""What only PostgreSQL can get wrong: locks between processes, snapshots, lost connections."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from tests.api.doors import Doors, open_doors
from tests.api.flow_parts import Store, catalog_of, copy_of, heartbeat, open_store
from tests.api.scripted_worker import ScriptedWorker, working
from tests.api.test_flow import pictures, running_api
from tests.api.test_relay import Bench
from tests.conftest import eventually

from captionfleet.broker.link import Session
from captionfleet.broker.names import Names
from captionfleet_api.jobs import ending, publisher, transitions
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.settings import ApiSettings
from captionfleet_api.store.engine import Database
from captionfleet_api.store.sequence import next_changes
from captionfleet_api.store.tables import Attempt, JobState, Task

# Benches come in pairs here: two apis of one database, each with connections of its own.


@pytest.fixture
async def stores(tmp_path: Path, postgres_url: str) -> AsyncIterator[list[Store]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_store(tmp_path, postgres_url)) for _ in "ab"]


async def test_two_relays_fill_one_window_once(stores: list[Store], tmp_path: Path) -> None:
    benches = [Bench(store, catalog_of(tmp_path, "m", "n")) for store in stores]
    await stores[0].submit([f"picture {n}".encode() for n in range(60)])
    for bench in benches:
        bench.view.hear(heartbeat(copy_of("m", rates={2: 10.0})))
    await asyncio.gather(*(bench.relay.release({"m"}) for bench in benches * 4))

    async def all_out() -> bool:
        return all(attempt.confirmed for attempt in await stores[0].rows(Attempt))

    await eventually(all_out)
    published = [message.task for bench in benches for message in bench.broker.published]
    assert len(published) == len(set(published)) == 20
    assert (await stores[0].states()).count("queued") == 20
    for bench in benches:
        bench.stop()
        await asyncio.gather(*bench.running, return_exceptions=True)


async def test_two_apis_of_one_database_share_the_work_and_publish_nothing_twice(
    tmp_path: Path, postgres_url: str, broker_url: str, names: Names, session: Session
) -> None:
    worker = ScriptedWorker(broker_url, names, ("m", "n"))
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                running_api(tmp_path, broker_url, names, database_url=postgres_url)
            )
            for _ in range(2)
        ]
        await eventually(lambda: not one.flow.trouble and not two.flow.trouble)
        jobs = [
            await api.submit(*pictures(30, f"{n} "), models=("m", "n"))
            for n, api in enumerate([one, two, one])
        ]
        await stack.enter_async_context(working(worker))
        await asyncio.gather(*(one.finished(job) for job in jobs))
        tasks = await two.store.tasks()
    assert {task.caption == f"{task.model} sees {task.picture_sha256} " for task in tasks} == {True}
    assert set(Counter(message.task for message in worker.seen).values()) == {1}
    assert len(worker.seen) == len(tasks) == 180


async def test_what_another_api_is_publishing_is_left_to_it(
    stores: list[Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = [Bench(store, catalog_of(tmp_path, "m", "n")) for store in stores]
    await eventually(lambda: two.publisher._has_looked)
    for bench in (one, two):
        bench.stop()
        await asyncio.gather(*bench.running, return_exceptions=True)
    await stores[0].submit([b"cat"])
    await one.consumers(copy_of("m"))  # claims, and gets no further

    two.publisher.connected_anew()
    await two.publisher.repair()
    assert two.publisher._waiting.empty()
    monkeypatch.setattr(publisher, "_LEFT_TO_OTHERS_SECONDS", 0)
    two.publisher.connected_anew()
    await two.publisher.repair()
    assert two.publisher._waiting.qsize() == 1


async def test_writers_of_two_processes_never_deadlock(stores: list[Store]) -> None:
    """One locks tasks and then numbers the changes, the other the other way round."""
    jobs = [await stores[0].submit([b"a", b"b", b"c"]) for _ in range(5)]

    async def answer(job: str) -> None:
        async with stores[0].database.write() as session:
            tasks = await session.scalars(select(Task).where(Task.job == job).with_for_update())
            await asyncio.sleep(0.05)  # time for the other to get in its way
            await transitions.number(session, tasks.all())

    async def end(job: str) -> None:
        await ending.cancel(stores[1].database, Changes(), job)

    for job in jobs:
        await asyncio.gather(answer(job), end(job))
    assert {(await stores[0].job(job)).state for job in jobs} == {JobState.CANCELLED}


async def test_a_reader_sees_one_moment(stores: list[Store]) -> None:
    await stores[0].submit([b"first"])
    async with stores[0].database.read() as session:
        count = select(func.count()).select_from(Task)
        before = (await session.execute(count)).scalar_one()
        await stores[1].submit([b"second"])
        assert (await session.execute(count)).scalar_one() == before == 1
    assert len(await stores[0].tasks()) == 2


async def test_a_reader_cannot_write(stores: list[Store]) -> None:
    with pytest.raises(DBAPIError, match="read-only transaction"):
        async with stores[0].database.read() as session:
            await next_changes(session)


async def test_a_writer_sees_what_was_committed_while_it_waited_for_its_turn(
    stores: list[Store],
) -> None:
    async def raise_often(database: Database) -> None:
        for _ in range(20):
            async with database.write() as session:
                await next_changes(session)

    await asyncio.gather(*(raise_often(store.database) for store in stores))
    async with stores[0].database.write() as session:
        assert await next_changes(session) == 41


async def test_connections_that_the_server_cut_are_made_anew(stores: list[Store]) -> None:
    assert await stores[1].tasks() == []
    async with stores[0].database.write() as session:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
        others = "current_database() AND pid <> pg_backend_pid()"
        await session.execute(text(cut + others))
    assert await stores[1].tasks() == []
    await stores[1].submit([b"cat"])


async def test_a_writer_that_hangs_gives_its_turn_back(stores: list[Store]) -> None:
    """Its machine may be gone without a word: the server ends what does nothing for a minute."""
    async with stores[0].database.write() as session:
        shown = await session.execute(text("SHOW idle_in_transaction_session_timeout"))
        assert shown.scalar_one() == "1min"
    async with stores[0].database.read() as session:
        shown = await session.execute(text("SHOW idle_in_transaction_session_timeout"))
        assert shown.scalar_one() == "0"


async def test_the_same_order_at_two_apis_makes_one_job(tmp_path: Path, postgres_url: str) -> None:
    async with AsyncExitStack() as stack:
        doors: list[Doors] = [
            await stack.enter_async_context(open_doors(tmp_path, database_url=postgres_url))
            for _ in range(2)
        ]
        (image,) = await doors[0].upload("red")
        body, key = {"images": [image], "models": ["alpha"]}, {"idempotency-key": "once"}
        answers = await asyncio.gather(
            *(each.client.post("/api/v1/jobs", json=body, headers=key) for each in doors * 3)
        )
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["id"] for answer in answers}) == 1


async def test_summary_and_search_speak_its_dialect(tmp_path: Path, postgres_url: str) -> None:
    async with open_doors(tmp_path, database_url=postgres_url) as doors:
        job = await doors.make_job("red", "blue", models=["alpha"])
        for task, words in zip(
            await doors.tasks(job["id"]), ["ein 50%_ Quadrat", "Übung"], strict=True
        ):
            await doors.caption(task["id"], text=words, seconds=0.25)
        (column,) = (await doors.get(f"/jobs/{job['id']}/summary"))["columns"]
        assert (column["median_seconds"], column["median_words"]) == (0.25, 2)
        for sought, found in (("übung", 1), ("50%_", 1), ("5_%", 0)):
            tasks = (await doors.get(f"/jobs/{job['id']}/tasks", q=sought))["items"]
            assert len(tasks) == found, sought


@pytest.mark.parametrize(
    "written", ["postgres://u:p%40ss@h/db", "postgresql://u:p%40ss@h/db?sslmode=require"]
)
def test_addresses_are_taken_as_people_write_them(written: str) -> None:
    settings = ApiSettings(database_url=written)
    assert settings.database.startswith("postgresql+psycopg://u:p%40ss@h/db")
    assert "p%40ss" not in repr(settings)


@pytest.mark.parametrize(
    "wrong",
    [
        "mysql://u:secret@h/db",
        "h/db",
        "postgresql+psycopg2://h/db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "sqlite+aiosqlite:////data/x.db?mode=ro",
    ],
)
def test_an_address_of_something_else_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ValidationError, match="not an address of PostgreSQL") as told:
        ApiSettings(database_url=wrong)
    assert "secret" not in str(told.value)
