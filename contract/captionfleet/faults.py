"""Fault points: named places where a test can kill the process to prove that nothing is lost.

CAPTIONFLEET_FAULT="NAME@MARKER" kills the first process that reaches NAME and can create the
file MARKER. Without the variable a fault point costs one dictionary look-up.
CAPTIONFLEET_FAULT_AT_WRITE=N kills the process before its N-th write to the Kubernetes API is
sent, N+ once that write was answered.
"""

import os
import signal
from collections import Counter
from typing import Literal

# Every point, and the program whose death it is. The fault tests go through all of them.
FAULT_POINTS = {
    "relay: after commit, before publish": "api",
    "relay: after publish, before confirm": "api",
    "relay: after confirm": "api",
    "results: before commit": "api",
    "results: after commit, before ack": "api",
    "job: after commit, before answer": "api",
    "worker: in mid-batch": "worker",
    "worker: before result publish": "worker",
    "worker: after result publish, before confirm": "worker",
    "worker: after result, before ack": "worker",
    "worker: in drain": "worker",
    "engine: in mid-load": "engine",
    "engine: in mid-batch": "engine",
    "operator: before acting": "operator",
    "operator: after starting a worker": "operator",
    "operator: before writing status": "operator",
}

_armed, _, _marker = os.environ.get("CAPTIONFLEET_FAULT", "").partition("@")


def fault_point(name: str) -> None:
    """Die here by SIGKILL if a test armed this point and nobody died of it yet."""
    if name != _armed:
        return
    if name not in FAULT_POINTS:
        raise KeyError(f"unknown fault point {name!r}")
    try:
        os.close(os.open(_marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


_write_to_die_at = os.environ.get("CAPTIONFLEET_FAULT_AT_WRITE", "")
_writes = Counter[str]()


def count_write(stage: Literal["before", "after"]) -> None:
    """Die here by SIGKILL if a test wants this process to end at this write."""
    if not _write_to_die_at:
        return
    _writes[stage] += 1
    if f"{_writes[stage]}{'+' if stage == 'after' else ''}" == _write_to_die_at:
        os.kill(os.getpid(), signal.SIGKILL)
