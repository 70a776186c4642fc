"""What the control group of this process, version 1 or 2, lets it use. Reads files only."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

# Version 1 writes "no limit" as a number near 2^63.
_NO_LIMIT = 2**60


@dataclass(frozen=True)
class Cgroup:
    """The limits that hold here. None = no limit below the host's."""

    memory_limit: int | None
    """Bytes."""
    memory_used: int | None
    """Bytes in use, without the part of the file cache that nobody has mapped: it can be dropped.
    None without a limit."""
    cpus: float | None
    """Cores."""


def read_cgroup(
    proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Cgroup:
    """The tightest limits on the way from this process's group up to the root."""
    limits: list[tuple[int, Path]] = []
    for folder in _folders(proc, root, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        if limit and limit < _NO_LIMIT:
            limits.append((limit, folder))
    quotas = [quota for folder in _folders(proc, root, "cpu") if (quota := _quota(folder))]
    cpus = min(quotas) if quotas else None
    if not limits:
        return Cgroup(None, None, cpus)
    tightest, folder = min(limits)
    return Cgroup(tightest, _working_set(folder), cpus)


def cores(cgroup: Cgroup) -> int:
    """Threads worth starting: the cores this process may run on, at least 1."""
    allowed = len(os.sched_getaffinity(0))
    return max(1, min(allowed, round(cgroup.cpus)) if cgroup.cpus else allowed)


def memory_total(cgroup: Cgroup) -> int:
    """Bytes: the cgroup's limit, else the host's memory."""
    host = psutil.virtual_memory().total
    return min(host, cgroup.memory_limit or host)


def memory_used(cgroup: Cgroup) -> int:
    """Bytes in use in the cgroup if it has a limit, else on the host."""
    if cgroup.memory_used is not None:
        return cgroup.memory_used
    host = psutil.virtual_memory()
    return host.total - host.available


def _folders(proc: Path, root: Path, controller: str) -> Iterator[Path]:
    """Folders of the process's group, from the group itself to the root; both versions."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        place = Path(path.lstrip("/"))
        # Inside a container the path may be the host's, which is not visible: the root is ours.
        for part in (place, *place.parents):
            if ".." not in part.parts and (top / part).is_dir():
                yield top / part


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
    except (OSError, ValueError):
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _working_set(folder: Path) -> int | None:
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
    if used is None:
        return None
    return max(0, used - _droppable(folder))


def _droppable(folder: Path) -> int:
    try:
        pairs = [line.split() for line in (folder / "memory.stat").read_text().splitlines()]
    except OSError:
        return 0
    stat = {name.removeprefix("total_"): int(value) for name, value in pairs}
    cached = stat.get("inactive_file", 0) + stat.get("active_file", 0)
    return max(0, cached - stat.get("file_mapped", stat.get("mapped_file", 0)))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
