"""Writes statuses into the catalog: when they changed, and live numbers not too often."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from captionfleet.catalog import Catalog, CatalogError
from captionfleet.resources import ModelStatus, PoolStatus

log = structlog.get_logger()

LIVE_NUMBERS_SECONDS = 2.0
STALE_SECONDS = 120.0
"""A resource that comes back sooner finds its status, with its times, as it was."""

Status = ModelStatus | PoolStatus


class StatusWriter:
    """Remembers what was written. `now` is Unix seconds."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._written: dict[tuple[str, str], tuple[Status, float]] = {}

    async def write(self, kind: str, statuses: Mapping[str, Status], now: float) -> None:
        """Write those of one kind that changed. What cannot be written is tried again."""
        for name, status in statuses.items():
            key = (kind, name)
            last = self._written.get(key)
            if last and (status == last[0] or not _is_due(status, last, now)):
                continue
            try:
                await self._catalog.write_status(kind, name, status)
            except (OSError, CatalogError) as error:
                log.warning("status not written", kind=kind, name=name, why=str(error))
            else:
                self._written[key] = (status, now)
        for key in [k for k in self._written if k[0] == kind and k[1] not in statuses]:
            del self._written[key]


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


def _is_due(status: Status, last: tuple[Status, float], now: float) -> bool:
    return _verdict(status) != _verdict(last[0]) or now - last[1] >= LIVE_NUMBERS_SECONDS


def _verdict(status: Status) -> object:
    """What is told at once; all else are live numbers."""
    phase = status.phase if isinstance(status, ModelStatus) else status.desired_replicas
    return phase, [(each.type, each.status) for each in status.conditions]
