"""What a worker downloads: where to, by whom, what of it is here, and how full that disk is."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from captionfleet.messages import Disk, Download, ModelAssignment
from captionfleet_worker.deleting import delete_files
from captionfleet_worker.engine.protocol import EngineOrder
from captionfleet_worker.fetcher import Fetcher, Fetching, Tell, Wishes
from captionfleet_worker.fetching.cache import OURS, Repository, persons_cache
from captionfleet_worker.fetching.order import CacheRules
from captionfleet_worker.fetching.room import disk_of
from captionfleet_worker.fetching.uses import Uses
from captionfleet_worker.files_here import FilesHere, hub_repository
from captionfleet_worker.metrics import Meters
from captionfleet_worker.settings import WorkerSettings
from captionfleet_worker.slots import Slots

log = structlog.get_logger()

_LOOK_SECONDS = 15.0
_CHECKS = 2


class Downloads:
    """`wishes` tells which repositories this worker uses, wants, or knows."""

    def __init__(
        self,
        settings: WorkerSettings,
        wishes: Callable[[], Wishes],
        meters: Meters,
        fetcher: Fetching | None = None,
    ) -> None:
        self.rules = cache_rules(settings, persons_cache(os.environ))
        self.disk: Disk | None = None
        """As of the last look."""
        self._folder = self.rules.folder or persons_cache(os.environ)
        self.notes = self._folder / OURS if self.rules.owned else settings.data
        """Folder for what outlives this worker: a pod's cache may outlast the pod."""
        self._fetches = Slots(settings.concurrent_downloads)
        # Each is a process, and what is here already shall not wait for what has to come. It comes
        # in this turn too if its branch has moved: only the hub can tell.
        self._checks = Slots(_CHECKS)
        self._wishes = wishes
        self._meters = meters
        self._here = FilesHere(self._folder)
        self._uses = Uses(self._folder, settings.worker)
        self._fetcher = fetcher or Fetcher(
            settings.worker, self.rules, settings.offline, settings.download_stall_seconds,
            settings.logs_folder.resolve(), wishes,
        )  # fmt: skip

    def here(self, model: ModelAssignment, *, code_found: bool) -> bool:
        """All files of the model are on this worker."""
        return self._here.all_of(model.fingerprint, model.spec, code_found)

    def any_of(self, model: ModelAssignment) -> bool:
        """Something of the model's repository is in the cache, if only what a cut download left."""
        repo = hub_repository(model.spec)
        return repo is not None and Repository(self._folder, repo).folder.exists()

    async def supply(self, order: EngineOrder, tell: Tell) -> EngineOrder:
        """See Fetching."""
        if order.files:
            return order
        told, spec = self._counted(order.model, tell), order.spec.as_manifest()
        try:
            async with self._turn(order.spec.fingerprint(), spec, told):
                return await self._fetcher.supply(order, told)
        finally:
            self._here.look_again()

    async def fetch(self, model: str, asked: ModelAssignment, tell: Tell) -> None:
        """See Fetching."""
        told = self._counted(model, tell)
        try:
            async with self._turn(asked.fingerprint, asked.spec, told):
                await self._fetcher.fetch(model, asked, told)
        finally:
            self._here.look_again()

    async def delete(
        self, spec: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """See delete_files."""
        try:
            own = self._folder if self.rules.owned else None
            await delete_files(spec, own, self._uses, others)
        finally:
            self._here.look_again()

    async def watch(self) -> None:
        """Renew the marks of what is used, and look how full the disk is; until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._look, self._wishes().keep)
            except OSError as error:
                log.warning(
                    "the cache cannot be looked at", place=str(self._folder), why=str(error)
                )
            await asyncio.sleep(_LOOK_SECONDS)

    def leave(self) -> None:
        """Nothing is used by this worker any more."""
        if self.rules.owned:
            with suppress(OSError):
                self._uses.settle(())

    @asynccontextmanager
    async def _turn(
        self, fingerprint: str, spec: Mapping[str, Any], tell: Tell
    ) -> AsyncIterator[None]:
        """Not everything is fetched at once. A model that is on no hub need not wait."""
        if hub_repository(spec) is None:
            yield
            return
        if self._here.all_of(fingerprint, spec, code_found=True):
            slots, wait = self._checks, "waits until other models' files are looked up"
        else:
            slots, wait = self._fetches, "waits until other models' files are fetched"
        async with slots.one(lambda: tell(wait, None)):
            yield

    def _counted(self, model: str, tell: Tell) -> Tell:
        """Count what comes while it is told. What was there at the beginning did not come now."""
        before: int | None = None

        def told(sentence: str, download: Download | None) -> None:
            nonlocal before
            if download:
                new = download.bytes_done - (download.bytes_done if before is None else before)
                # What was refused after its arrival is taken back, and comes again.
                self._meters.download_bytes.labels(model).inc(max(0, new))
                before = download.bytes_done
            tell(sentence, download)

        return told

    def _look(self, used: frozenset[str]) -> None:
        """Runs in a thread: disks may be slow."""
        if self.rules.owned:
            with suppress(OSError):  # mounted read-only: nobody removes anything here
                self._uses.settle(used)
        self.disk = disk_of(self.rules, self._folder)


def cache_rules(settings: WorkerSettings, persons: Path) -> CacheRules:
    """A folder of the workers' own is bounded and kept in order; a person's cache is not touched,
    even where a setting names it."""
    own = settings.cache is not None and settings.cache.resolve() != persons.resolve()
    return CacheRules(
        settings.cache and settings.cache.resolve(), own, settings.cache_watermark,
        settings.cache_limit if own else 0,
    )  # fmt: skip
