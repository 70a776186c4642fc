"""One worker process: started in its own process group, found again, asked to end, killed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil

from captionfleet.lifeline import lifeline_fd
from captionfleet_operator.local.record import WorkerRecord

LAUNCH_FLAG = "--launch"
_LARGEST_LOG = 16 * 2**20
_SAME_START_SECONDS = 1.0


class WorkerProcess:
    """A running worker, ours by birth or by adoption."""

    def __init__(self, process: psutil.Process, child: subprocess.Popen[bytes] | None) -> None:
        self._process = process
        self._child = child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def started(self) -> float:
        return self._process.create_time()

    @property
    def runs(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return _is_live(self._process)

    @property
    def ending(self) -> str:
        """How it ended, for people. Of an adopted process nobody is told."""
        status = self._child.poll() if self._child else None
        if status is None:
            return "ended"
        if status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return f"ended with exit status {status}"

    def ask_to_end(self) -> None:
        """SIGTERM to the worker alone: it drains and ends its engines itself."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to its whole process group, which is its own."""
        with contextlib.suppress(ProcessLookupError):
            if self.runs and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)


def start(environment: Mapping[str, str], launch: str, log: Path) -> WorkerProcess:
    """Run `python -m captionfleet_worker` with this environment and mark. Raises OSError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    lifeline = lifeline_fd()
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "captionfleet_worker", LAUNCH_FLAG, launch],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=() if lifeline is None else (lifeline,),
            process_group=0,
        )
    return WorkerProcess(psutil.Process(child.pid), child)


def find(record: WorkerRecord) -> WorkerProcess | None:
    """The recorded process if it still runs: by pid and start time, else by its launch mark."""
    if record.pid is not None and record.started is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(record.pid)
            same = abs(process.create_time() - record.started) < _SAME_START_SECONDS
            if same and _is_live(process):
                return WorkerProcess(process, None)
    marked = [p for p in psutil.process_iter() if _is_live(p) and _has_mark(p, record.launch)]
    # A child that it is just starting still has its arguments, but the worker is older.
    eldest = min(marked, key=lambda process: process.create_time(), default=None)
    return WorkerProcess(eldest, None) if eldest else None


def with_process(record: WorkerRecord, process: WorkerProcess) -> WorkerRecord:
    return replace(record, pid=process.pid, started=process.started)


def _is_live(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _has_mark(process: psutil.Process, launch: str) -> bool:
    """By its arguments: a worker lets nobody but root read its environment."""
    try:
        return process.cmdline()[-2:] == [LAUNCH_FLAG, launch]
    except (psutil.Error, OSError):
        return False
