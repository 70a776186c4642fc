"""The folder that one launch of an engine has for itself, and the places its libraries write to.

A container has a read-only root and a user without a name or home: nothing may be written but
below the worker's own folders.
"""

import getpass
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from captionfleet_worker.process_tree import end_leftovers


def make_room(below: Path, model: str) -> Path:
    """A fresh folder, readable by this user alone. Raises OSError."""
    below.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{model}-", dir=below))


def leave_room(room: Path) -> None:
    shutil.rmtree(room, ignore_errors=True)


def clear_rooms(below: Path) -> None:
    """Remove what engines left behind whose worker was killed, and end what still runs there."""
    if below.is_dir():
        end_leftovers(below.resolve())
        for room in below.iterdir():
            leave_room(room)


def room_environment(room: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Variables that keep what libraries write inside the room."""
    # Code that checkpoints bring is copied there before it runs: no other model may change it.
    own = {"HF_MODULES_CACHE": str(room / "modules")}
    return own if _has_name(inherited) else own | {"USER": "captionfleet"}


def usable_home(inherited: Mapping[str, str], data: Path) -> str:
    """HOME if it can be written to, else a folder of the worker. Raises OSError."""
    named = inherited.get("HOME")
    if named and os.access(named, os.W_OK | os.X_OK):
        return named
    own = (data / "home").resolve()
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(own)


def _has_name(inherited: Mapping[str, str]) -> bool:
    """Torch and others name caches after the user, and fail for one without a name."""
    if {"LOGNAME", "USER", "LNAME", "USERNAME"} & set(inherited):
        return True
    try:
        return bool(getpass.getuser())
    except (KeyError, OSError):
        return False
