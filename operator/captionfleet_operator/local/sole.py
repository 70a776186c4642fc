"""One operator per data folder: two would start workers against each other."""

import fcntl
import time
from pathlib import Path
from typing import IO


class AlreadyRunning(Exception):
    """Another operator holds the data folder; the message says what to do."""


def hold(data: Path, *, seconds: float = 3.0) -> IO[bytes]:
    """Take the folder until the returned file is closed or the process ends.

    Waits a little, for an operator that is just ending. Raises AlreadyRunning.
    """
    file = data / "operator" / "lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = file.open("ab")
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > deadline:
                handle.close()
                raise AlreadyRunning(
                    f"another operator works on {data}: end it, or set CAPTIONFLEET_DATA to "
                    "another folder"
                ) from None
            time.sleep(0.05)
