"""Which processes an installation started, so that a later start can end what an earlier one left.

A process is known by pid and start time: a pid alone may belong to a stranger by now.
"""

import contextlib
import json
import os
import signal
from pathlib import Path

import psutil


class ProcessRecord:
    """A small file of {name: [pid, start time]}."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def remember(self, name: str, pid: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended already
            self._write(self._read() | {name: [pid, psutil.Process(pid).create_time()]})

    def forget_all(self) -> None:
        self._file.unlink(missing_ok=True)

    def survivors(self) -> list[psutil.Process]:
        """Those that still run."""
        return [
            process for pid, since in self._read().values() if (process := same_process(pid, since))
        ]

    def end_survivors(self, seconds: float) -> None:
        """Wait for them to end by themselves, then kill them with their process groups."""
        _, stubborn = psutil.wait_procs(self.survivors(), timeout=seconds)
        for process in stubborn:
            kill_group(process.pid)
        psutil.wait_procs(stubborn, timeout=10)

    def _read(self) -> dict[str, list[float]]:
        try:
            found: dict[str, list[float]] = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):  # absent, or cut short by a crash
            return {}
        return found

    def _write(self, record: dict[str, list[float]]) -> None:
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(json.dumps(record))
        fresh.replace(self._file)


def kill_group(pid: int) -> None:
    """SIGKILL to the process group that `pid` leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def same_process(pid: float, since: float) -> psutil.Process | None:
    """The process, if it still runs; a zombie has ended."""
    try:
        process = psutil.Process(int(pid))
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process if alive and abs(process.create_time() - since) < 1 else None
    except psutil.NoSuchProcess:
        return None
