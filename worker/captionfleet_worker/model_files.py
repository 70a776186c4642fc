"""Files of models apart from any copy: fetched or deleted where a person asked for it.

One at a time. What could not be done stays as a sentence, and is tried again later.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass

import structlog

from captionfleet.messages import Download, FilesState, ModelAssignment, Wanted
from captionfleet_worker.engine_process import LoadFailed
from captionfleet_worker.fetcher import Tell
from captionfleet_worker.reconcile import FilesFacts, next_files, retry_pause

log = structlog.get_logger()

Fetch = Callable[[str, ModelAssignment, Tell], Awaitable[object]]
"""Raises LoadFailed."""
Delete = Callable[[str, ModelAssignment], Awaitable[None]]
"""Raises LoadFailed if something uses them, or if they are not the worker's to delete."""


@dataclass
class _Work:
    """What is done, or could not be done, about the files of one model."""

    asked: ModelAssignment
    message: str
    download: Download | None = None
    failures: int = 0
    retry_at: float | None = None
    """When it may be done once more, by the monotonic clock; None while it is done."""
    failed: bool = False

    def state(self, model: str) -> FilesState:
        return FilesState(
            model=model, wanted=self.asked.state, message=self.message, download=self.download,
            failed=self.failed,
        )  # fmt: skip


class ModelFiles:
    """`changed` is called when what heartbeats say, or what is to be done, has changed."""

    def __init__(self, fetch: Fetch, delete: Delete, changed: Callable[[], None]) -> None:
        self._fetch = fetch
        self._delete = delete
        self._changed = changed
        self._works: dict[str, _Work] = {}
        self._running: asyncio.Task[None] | None = None
        self._model = ""

    def steer(
        self,
        asked: Mapping[str, ModelAssignment],
        here: Callable[[ModelAssignment], bool],
        used: Set[str],
    ) -> None:
        """Begin what brings the files closer to `asked`; `used` are models that have a copy."""
        for model in [m for m, work in self._works.items() if asked.get(m) != work.asked]:
            self._drop(model)
        facts = [
            FilesFacts(model, each.state, here(each), model in used, self._retry_at(model))
            for model, each in asked.items()
        ]
        for done in [f.model for f in facts if f.here == (f.wanted == Wanted.CACHED)]:
            if not self._busy_with(done):
                self._works.pop(done, None)
        if next_ := next_files(facts, self._running is not None, time.monotonic()):
            self._begin(next_.model, asked[next_.model])

    def views(self) -> list[FilesState]:
        return [work.state(model) for model, work in sorted(self._works.items())]

    async def end(self) -> None:
        """Stop what is under way: a fetch goes on where it was when it is asked for again."""
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    def _busy_with(self, model: str) -> bool:
        return self._running is not None and self._model == model

    def _drop(self, model: str) -> None:
        del self._works[model]
        if self._running and self._busy_with(model):
            self._running.cancel()

    def _retry_at(self, model: str) -> float | None:
        return self._works[model].retry_at if model in self._works else None

    def _begin(self, model: str, asked: ModelAssignment) -> None:
        before = self._works.get(model)
        verb = "fetching" if asked.state == Wanted.CACHED else "deleting"
        work = _Work(asked, f"{verb} its files", failures=before.failures if before else 0)
        self._works[model], self._model = work, model
        self._running = asyncio.create_task(self._do(model, work))
        self._running.add_done_callback(self._ended)
        self._changed()

    def _ended(self, _: asyncio.Task[None]) -> None:
        self._running = None
        self._changed()

    async def _do(self, model: str, work: _Work) -> None:
        def tell(message: str, download: Download | None) -> None:
            work.message, work.download = message, download
            self._changed()

        try:
            if work.asked.state == Wanted.CACHED:
                await self._fetch(model, work.asked, tell)
            else:
                await self._delete(model, work.asked)
            # If they are not as asked all the same, nobody tries in a tight circle.
            work.retry_at = time.monotonic() + retry_pause(1, retriable=True)
        except LoadFailed as failure:
            self._fail(model, work, failure)
        except Exception as error:
            log.exception("files left by an error of the worker", model=model)
            self._fail(model, work, LoadFailed("WorkerError", f"{type(error).__name__}: {error}"))

    def _fail(self, model: str, work: _Work, failure: LoadFailed) -> None:
        log.warning("files not as asked", model=model, reason=failure.reason, why=failure.message)
        work.failures += 1
        work.message, work.download, work.failed = failure.message, None, True
        pause = retry_pause(work.failures, retriable=failure.retriable)
        work.retry_at = time.monotonic() + pause
