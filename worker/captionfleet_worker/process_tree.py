"""Ends an engine with everything it started, in whatever group, session or daemon that lives.

While the engine lives its descendants are its own: it adopts orphans. Of one that ended by itself
they are told by the engine's room, which is in their environment or among their open files. Only a
process that took off both, and whose engine crashed, is not found.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_MOST_ROUNDS = 20
"""A process that forks without end may start more while we look; each round stops all it finds."""


def adopt_orphans() -> None:
    """Called by an engine: a daemon among its descendants stays its descendant."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_tree(pid: int) -> None:
    """Kill a living engine and all that it started."""
    _signal(pid, signal.SIGSTOP)  # it starts nothing more while we look
    _end_all(lambda: descendants(pid))
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    _signal(pid, signal.SIGKILL)


def end_leftovers(room: Path) -> None:
    """Kill what an engine left that is gone itself; or many, by the folder of their rooms."""
    _end_all(lambda: {pid for pid in _pids() if _belongs(pid, f"{room}/")} - {os.getpid()})


def descendants(pid: int) -> set[int]:
    """Children, their children and so on."""
    children: dict[int, list[int]] = {}
    for each in _pids():
        if (parent := _parent(each)) is not None:
            children.setdefault(parent, []).append(each)
    found: set[int] = set()
    next_ones = [pid]
    while next_ones:
        below = [child for each in next_ones for child in children.get(each, ())]
        next_ones = [child for child in below if child not in found]
        found.update(next_ones)
    return found


def processor_seconds(pid: int) -> float:
    """What it has taken, and its children that ended, theirs included. 0 if it ended itself."""
    return sum(int(ticks) for ticks in _stat(pid)[11:15]) / os.sysconf("SC_CLK_TCK")


def _end_all(look: Callable[[], set[int]]) -> None:
    for _ in range(_MOST_ROUNDS):
        alive = {pid for pid in look() if not _is_zombie(pid)}
        if not alive:
            return
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                _signal(pid, number)


def _pids() -> list[int]:
    with os.scandir("/proc") as entries:
        return [int(each.name) for each in entries if each.name.isdecimal()]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _belongs(pid: int, room: str) -> bool:
    process = Path("/proc") / str(pid)
    try:
        if os.fsencode(f"={room}") in (process / "environ").read_bytes():
            return True
        return any(str(file.readlink()).startswith(room) for file in (process / "fd").iterdir())
    except OSError:  # it ended, or is another user's
        return False


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty for one that ended.

    Without Path, which takes four times as long: a worker reads all processes every 2 s.
    """
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return []
    try:
        return os.read(file, 4096).decode(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    finally:
        os.close(file)


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _is_zombie(pid: int) -> bool:
    fields = _stat(pid)
    return not fields or fields[0] in "ZX"
