"""Opens the database. What only SQLite (with sqlite.py) or only PostgreSQL needs is here.

On both a reader sees one moment and there is one writer at a time: changes are numbered in the
order of their commits, so that writers would wait for each other anyway, and deadlock.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from captionfleet_api.store.sqlite import connecting

_BUSY_SECONDS = 30
_CONNECT_SECONDS = 5

_TAKE_TURN = {
    # Take the write lock now: upgrading a read lock later can fail at once.
    "sqlite": "BEGIN IMMEDIATE",
    # Held until the end of the transaction. A writer whose machine is gone gives it back too.
    "postgresql": "SELECT set_config('idle_in_transaction_session_timeout', '60s', true), "
    "pg_advisory_xact_lock(1667330164)",
}


class Database:
    """Short transactions over one engine. Sessions never outlive their `async with`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        # Who finds the database busy waits with a connection, on SQLite by sleeping: our own
        # writers line up here first, which is faster and fair.
        self._turn = asyncio.Lock()
        self._take_turn = _TAKE_TURN[engine.dialect.name]
        self._snapshots = engine
        if engine.dialect.name == "postgresql":
            self._snapshots = engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A snapshot to read from. Writing in it is a mistake."""
        async with AsyncSession(self._snapshots, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A write transaction: committed at the end of the block, rolled back on an exception."""
        async with self._turn, AsyncSession(self.engine, expire_on_commit=False) as session:
            connection = await session.connection(execution_options={"writes": True})
            await connection.exec_driver_sql(self._take_turn)
            yield session
            await session.commit()

    async def close(self) -> None:
        await self.engine.dispose()


def open_database(url: str) -> Database:
    """`sqlite+aiosqlite:///path` or `postgresql+psycopg://...`."""
    if url.startswith("postgresql"):
        return Database(
            create_async_engine(
                url,
                isolation_level="READ COMMITTED",  # after its turn has come, a writer sees all
                pool_pre_ping=True,  # the server may have been started again
                connect_args={"connect_timeout": _CONNECT_SECONDS},
            )
        )
    path = make_url(url).database
    assert path, "the settings have checked it"
    engine = create_async_engine(url, async_creator=connecting(path))
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return Database(engine)


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # a 202 must survive a power cut
        f"busy_timeout = {_BUSY_SECONDS * 1000}",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    if not connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN")
