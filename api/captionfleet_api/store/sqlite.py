"""SQLite connections that hand each statement to their thread once, rows and all.

aiosqlite alone hands over four times: to make a cursor, execute, fetch and close. Here that took
longer than the statements themselves, twenty times over for each task.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Self

import aiosqlite


def connecting(path: str) -> Callable[[], Awaitable[aiosqlite.Connection]]:
    """What makes connections to the file, for SQLAlchemy's `async_creator`."""

    async def connect() -> aiosqlite.Connection:
        made = _Connection(lambda: sqlite3.connect(path, check_same_thread=False), 64)
        made._thread.daemon = True  # as SQLAlchemy has it, so that no program waits for it to end
        return await made

    return connect


class _Connection(aiosqlite.Connection):
    def cursor(self) -> "_Cursor":  # type: ignore[override] # the part that SQLAlchemy uses
        return _Cursor(self)


class _Cursor:
    """The part of aiosqlite's cursor that SQLAlchemy uses, where it streams nothing."""

    arraysize = 1
    description: Any = None
    rowcount = -1
    lastrowid: int | None = None

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        await self._connection._execute(self._run, "execute", sql, parameters)  # type: ignore[no-untyped-call]

    async def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._connection._execute(self._run, "executemany", sql, parameters)  # type: ignore[no-untyped-call]

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Nothing is open once a statement has run."""

    def _run(self, how: Literal["execute", "executemany"], sql: str, parameters: Any) -> None:
        """In the connection's thread."""
        cursor = self._connection._conn.cursor()
        try:
            getattr(cursor, how)(sql, parameters)
            self._rows = cursor.fetchall() if cursor.description else []
            self.description, self.rowcount = cursor.description, cursor.rowcount
            self.lastrowid = cursor.lastrowid
        finally:
            cursor.close()
