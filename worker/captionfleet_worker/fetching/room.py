"""Whether a download fits on the disk, and what is removed so that it does."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from captionfleet.messages import Disk
from captionfleet_worker.engine.protocol import LoadFailed
from captionfleet_worker.fetching.cache import Repository, repositories
from captionfleet_worker.fetching.eviction import Shelf, what_to_evict
from captionfleet_worker.fetching.order import CacheRules, FetchOrder
from captionfleet_worker.fetching.uses import Uses

_MEGABYTE = 10**6


@dataclass(frozen=True)
class DiskFacts:
    """A disk and the cache on it, in bytes."""

    total: int
    free: int
    cache: int


def disk_of(rules: CacheRules, folder: Path) -> Disk:
    """What heartbeats tell about the disk below `folder`. Raises OSError."""
    facts = _facts(folder)
    return Disk(
        cache_bytes=facts.cache, free_bytes=facts.free, room_bytes=max(0, room(facts, rules))
    )


def room(facts: DiskFacts, rules: CacheRules) -> int:
    """Bytes that may still come; below 0 where too many are there already. Pure.

    A person's own cache and disk are theirs to fill: only what is free counts there.
    """
    if not rules.owned:
        return facts.free
    share = rules.watermark_percent / 100
    on_disk = facts.free - facts.total * (1 - share)
    in_folder = rules.limit_bytes * share - facts.cache if rules.limit_bytes else on_disk
    return int(min(on_disk, in_folder))


def make_room(order: FetchOrder, folder: Path, need: int, tell: Callable[[str], None]) -> None:
    """Have room for `need` more bytes, removing what nobody uses. Raises LoadFailed, OSError.

    Whoever calls it keeps others from taking what is removed: see errand.
    """
    facts = _facts(folder)
    lacking = need - room(facts, order.cache)
    if lacking <= 0:
        return
    shelves = _shelves(order, folder) if order.cache.owned else []
    leaving = what_to_evict(shelves, lacking)
    if not leaving:
        raise _too_full(order, folder, need, facts, shelves)
    uses = Uses(folder, order.worker)
    for name in leaving:
        tell(f"removing {name}, which nobody uses, to make room")
        repository = Repository(folder, name)
        repository.remove()
        uses.forget(repository)


def _shelves(order: FetchOrder, folder: Path) -> list[Shelf]:
    uses = Uses(folder, order.worker)
    keep = {*order.keep, order.source.repo}
    return [
        Shelf(
            name=each.name,
            size=each.size(),
            used_at=uses.used_at(each),
            in_use=each.name in keep or uses.used_by_others(each),
            spared=each.name in order.spare,
        )
        for each in repositories(folder)
    ]


def _too_full(
    order: FetchOrder, folder: Path, need: int, facts: DiskFacts, shelves: Sequence[Shelf]
) -> LoadFailed:
    rules = order.cache
    has = max(0, room(facts, rules))
    said = f"{order.source.repo} needs {_megabytes(need)}, and {folder} has room for "
    said += _megabytes(has)
    if not rules.owned:
        remedy = "free space there, or name another folder in CAPTIONFLEET_CACHE"
        return LoadFailed("DiskFull", f"{said}: {remedy}", retriable=True)
    limit = rules.limit_bytes or facts.total
    used = sum(shelf.size for shelf in shelves if shelf.in_use)
    said += f" below {rules.watermark_percent} % of {_megabytes(limit)}"
    said += f", {_megabytes(used)} of it in use" if used else ""
    return LoadFailed(
        "DiskFull",
        f"{said}: unload models, enlarge spec.cache.sizeLimit of the pool or the disk, or raise "
        "spec.cache.highWatermarkPercent (CAPTIONFLEET_CACHE_WATERMARK)",
        retriable=True,
    )


def _facts(folder: Path) -> DiskFacts:
    usage = shutil.disk_usage(_existing(folder))
    return DiskFacts(usage.total, usage.free, sum(each.size() for each in repositories(folder)))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _megabytes(count: int) -> str:
    return f"{count / _MEGABYTE:,.0f} MB"
