"""The database: its migrations make exactly the tables, and its numbers never run backwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from captionfleet_api.store.engine import Database, open_database
from captionfleet_api.store.installation import installation_id
from captionfleet_api.store.migrate import migrate
from captionfleet_api.store.sequence import next_changes
from captionfleet_api.store.tables import Base


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres").empty_database())
    return f"sqlite+aiosqlite:///{tmp_path}/captionfleet.db"


@pytest.fixture
async def database(empty_url: str) -> AsyncIterator[Database]:
    database = open_database(empty_url)
    yield database
    await database.close()


def differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


async def test_the_migrations_make_the_tables(database: Database) -> None:
    await migrate(database)
    async with database.read() as session:
        assert await (await session.connection()).run_sync(differences) == []


async def test_apis_that_start_at_once_migrate_once(empty_url: str) -> None:
    databases = [open_database(empty_url) for _ in range(4)]
    await asyncio.gather(*(migrate(database) for database in databases))
    ids = await asyncio.gather(*(installation_id(database) for database in databases))
    assert len(set(ids)) == 1
    for database in databases:
        await database.close()


async def test_changes_are_numbered_without_gaps_or_repeats(database: Database) -> None:
    await migrate(database)
    await installation_id(database)

    async def take(n: int) -> range:
        async with database.write() as session:
            last = await next_changes(session, n)
        return range(last - n + 1, last + 1)

    taken = await asyncio.gather(*(take(n) for n in (1, 5, 2, 1, 7)))
    assert sorted(number for some in taken for number in some) == list(range(1, 17))


async def test_a_statement_given_up_half_way_leaves_nothing_behind(database: Database) -> None:
    await migrate(database)
    await installation_id(database)
    begun = asyncio.Event()

    async def count_for_long() -> None:
        async with database.write() as session:
            await next_changes(session)
            begun.set()
            await session.execute(text(_LONG))

    task = asyncio.create_task(count_for_long())
    await begun.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.write() as session:
        assert await next_changes(session) == 1


_LONG = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000)
SELECT count(*) FROM n"""


class Counting:
    """A queue that counts what it is given."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.given = 0

    def put_nowait(self, item: Any) -> None:
        self.given += 1
        self._queue.put_nowait(item)


async def test_sqlite_hands_a_statement_to_its_thread_once(tmp_path: Path) -> None:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path}/captionfleet.db")
    async with database.read() as session:
        connection = await (await session.connection()).get_raw_connection()
        driver: Any = connection.driver_connection
        driver._tx = handed = Counting(driver._tx)
        found = await session.execute(text("SELECT 1 AS one UNION SELECT 2"))
        assert [row.one for row in found] == [1, 2]
        assert handed.given == 1
    await database.close()
