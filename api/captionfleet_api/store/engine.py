"""Opens the database. Everything that only SQLite needs is in this file; all else is portable."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

_BUSY_SECONDS = 30


class Database:
    """Short transactions over one engine. Sessions never outlive their `async with`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        # SQLite has one writer, and who finds it busy sleeps and tries again: our own writers
        # line up here instead, which is faster and fair.
        self._turn = asyncio.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A snapshot to read from. Writing in it is a mistake."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A write transaction: committed at the end of the block, rolled back on an exception."""
        async with self._turn, AsyncSession(self.engine, expire_on_commit=False) as session:
            connection = await session.connection(execution_options={"writes": True})
            if connection.dialect.name == "sqlite":
                # Take the write lock now: upgrading a read lock later can fail at once.
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield session
            await session.commit()

    async def close(self) -> None:
        await self.engine.dispose()


def open_database(url: str) -> Database:
    """`sqlite+aiosqlite:///path` or `postgresql+psycopg://...`."""
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
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
