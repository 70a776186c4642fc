"""Writes statuses into the catalog: when they changed, and live numbers not too often."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from captionfleet.catalog import Catalog
from captionfleet.resources import Manifest, ModelStatus, PoolStatus
from captionfleet_operator.keyed_queue import KeyedQueue

FOLDER_NUMBERS_SECONDS = 2.0
CLUSTER_NUMBERS_SECONDS = 15.0
"""Shortest time between two statuses that differ only in live numbers."""
STALE_SECONDS = 120.0
"""A resource that comes back sooner finds its status, with its times, as it was."""

Status = ModelStatus | PoolStatus
_Key = tuple[str, str]


class StatusWriter:
    """Remembers what was written, so that a status at rest is never written again."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        numbers_seconds: float,
        on_write: Callable[[], None] | None = None,
    ) -> None:
        self._catalog = catalog
        self._numbers_seconds = numbers_seconds
        self._on_write = on_write
        self._wanted: dict[_Key, tuple[Status, float]] = {}
        self._written: dict[_Key, tuple[Status, float]] = {}
        self._uids: dict[_Key, str | None] = {}
        self.queue: KeyedQueue[_Key] = KeyedQueue(self._reconcile)

    async def run(self) -> None:
        await self.queue.run()

    def want(
        self,
        kind: str,
        statuses: Mapping[str, Status],
        manifests: Mapping[str, Manifest],
        now: float,
    ) -> None:
        """These shall be the statuses of this kind, at `now` in Unix seconds."""
        for name, status in statuses.items():
            key = (kind, name)
            self._meet(key, manifests[name])
            last = self._written.get(key)
            if last and status == last[0]:
                self._wanted.pop(key, None)
            elif last is None or self._is_due(status, last, now):
                self._wanted[key] = (status, now)
                if not self.queue.failing(key):
                    self.queue.add(key)
        for key in [k for k in self._uids if k[0] == kind and k[1] not in statuses]:
            del self._uids[key]
            self._written.pop(key, None)
            self._wanted.pop(key, None)

    def _meet(self, key: _Key, manifest: Manifest) -> None:
        """What an earlier operator wrote counts as written; what a namesake had does not."""
        if key in self._uids and self._uids[key] == manifest.metadata.uid:
            return
        self._uids[key] = manifest.metadata.uid
        self._written.pop(key, None)
        if manifest.status:
            self._written[key] = (manifest.status, 0.0)

    async def _reconcile(self, key: _Key) -> None:
        wanted = self._wanted.get(key)
        if wanted is None:
            return
        last = self._written.get(key)
        if last is None or last[0] != wanted[0]:
            await self._catalog.write_status(*key, wanted[0])
            if self._on_write:
                self._on_write()
        if self._wanted.get(key) is wanted:
            del self._wanted[key]
        if key in self._uids:
            self._written[key] = wanted

    def _is_due(self, status: Status, last: tuple[Status, float], now: float) -> bool:
        told_at_once = _verdict(status) != _verdict(last[0])
        return told_at_once or now - last[1] >= self._numbers_seconds


class StaleStatuses:
    """Removes status files of resources that have been gone from the folder for a while."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gone: dict[Path, float] = {}

    def remove(self, present: Mapping[str, Iterable[str]], now: float) -> None:
        """`present` is kind -> names that are in the catalog."""
        kept = {self._folder / kind / f"{name}.json" for kind in present for name in present[kind]}
        gone = {file for kind in present for file in (self._folder / kind).glob("*.json")} - kept
        self._gone = {file: self._gone.get(file, now) for file in gone}
        for file, since in self._gone.items():
            if now - since > STALE_SECONDS:
                file.unlink(missing_ok=True)


def _verdict(status: Status) -> object:
    """What is told at once; all else are live numbers."""
    phase = status.phase if isinstance(status, ModelStatus) else status.desired_replicas
    generation = status.observed_generation
    return generation, phase, [(each.type, each.status, each.reason) for each in status.conditions]
