"""A level-triggered work queue: each key is reconciled, by one task at a time, until it is at rest.

A key added while it is being worked on runs once more after; one that failed comes back later.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger()

Key = TypeVar("Key")

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class KeyedQueue(Generic[Key]):
    """`reconcile` looks at everything about its key anew; whatever it raises means: again later."""

    def __init__(self, reconcile: Callable[[Key], Awaitable[None]], *, at_once: int = 16) -> None:
        self._reconcile = reconcile
        self._at_once = at_once
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._later: dict[Key, asyncio.TimerHandle] = {}

    def add(self, key: Key) -> None:
        """Have the key reconciled soon. Costs nothing if it already waits."""
        if timer := self._later.pop(key, None):
            timer.cancel()
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def failing(self, key: Key) -> bool:
        """Its last reconciliation failed and it waits for the next one."""
        return key in self._later

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._work())

    @property
    def idle(self) -> bool:
        """Nothing is left to do, failures that wait for their time included."""
        return not (self._waiting or self._working or self._later)

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._working.add(key)
            try:
                await self._reconcile(key)
            except Exception as error:
                self._postpone(key, error)
            else:
                self._failures.pop(key, None)
            finally:
                self._working.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    def _postpone(self, key: Key, error: Exception) -> None:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (count - 1), _LONGEST_PAUSE_SECONDS)
        log.warning("not written; tried again", key=str(key), why=str(error), seconds=pause)
        with contextlib.suppress(KeyError):
            self._later.pop(key).cancel()
        self._later[key] = asyncio.get_running_loop().call_later(pause, self._due, key)

    def _due(self, key: Key) -> None:
        self._later.pop(key, None)
        self.add(key)
