"""The database: its migrations make exactly the tables, and its numbers never run backwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

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
