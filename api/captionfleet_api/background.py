"""What runs beside the doors: flow of tasks, watch on the catalog, janitor, look at the hub."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from captionfleet_api.images.janitor import Janitor
from captionfleet_api.jobs.loops import keep_going
from captionfleet_api.parts import Parts

log = structlog.get_logger()


class Background:
    """Started with the program, stopped in order: the flow first, so that nothing new goes out."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        parts = self._parts
        janitor = Janitor(parts.database, parts.blobs, parts.settings.orphan_hours * 3600)
        self._start("the flow of tasks", parts.flow.run)
        self._start("watching the catalog", self._watch_catalog)
        self._start("deleting unused pictures", janitor.run)
        if parts.settings.demo:
            self._start("looking for the hub", parts.hub.watch)

    async def end_flow(self) -> None:
        await self._stop("the flow of tasks")

    async def end(self) -> None:
        for what in list(self._running):
            await self._stop(what)

    def _start(self, what: str, run: Callable[[], Awaitable[None]]) -> None:
        def told(_: str, trouble: str) -> None:
            if trouble:
                log.error("background work failed", what=what, trouble=trouble)

        self._running[what] = asyncio.create_task(keep_going(what, run, told))

    async def _stop(self, what: str) -> None:
        if task := self._running.pop(what, None):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch_catalog(self) -> None:
        async for _ in self._parts.catalog.watch():
            self._parts.changes.tell_everyone()
