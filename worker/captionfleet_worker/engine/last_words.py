"""Where an engine's code stood when it ended or took too long: the engine writes it, the agent asks
and reads.

Python's faulthandler does the writing, so it works while the code hangs in C or has crashed.
"""

import asyncio
import contextlib
import faulthandler
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from captionfleet_worker.engine.own_files import as_written

_FILE = "stack"
_ASK = signal.SIGUSR2
_LONGEST_WAIT = 1.0
_QUIET = 0.05
"""A text that has not grown for so many seconds is complete."""
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$', re.MULTILINE)
_CALLER = "custom_code.py"
"""The file of ours that calls a person's code."""
_kept: list[BinaryIO] = []


def listen(room: Path) -> None:
    """In the engine: from now on tell where each thread stands, when asked or when crashing."""
    file = (room / _FILE).open("wb", buffering=0)
    _kept.append(file)
    faulthandler.enable(file)
    faulthandler.register(_ASK, file)


def tell() -> None:
    """In the engine: where this thread stands, for one that ends without a crash."""
    with contextlib.suppress(Exception):  # a person's code may have closed the file
        faulthandler.dump_traceback(_kept[-1], all_threads=False)


async def ask(pid: int, room: Path) -> str:
    """In the agent: where a living engine's threads stand; empty if it does not tell."""
    if not (room / _FILE).exists():  # it does not listen yet, and the signal would end it
        return ""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, _ASK)
    before, ends = "", time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < ends:
        await asyncio.sleep(_QUIET)
        if (said := read(room)) and said == before:
            return said
        before = said
    return before


def read(room: Path) -> str:
    """In the agent: what the engine has told so far."""
    try:
        return (room / _FILE).read_text(errors="replace")
    except OSError:
        return ""


def place_in(text: str, folders: Sequence[Path]) -> str | None:
    """`own.py, line 6, in infer`: where a person's code stood; None if it was not at work."""
    threads = [list(_own_frames(part, folders)) for part in sorted(text.split("\n\n"), key=_other)]
    return next((frames[0] for frames in threads if frames), None)


def _other(thread: str) -> bool:
    """Whether it is none that we had called the code in: such a thread tells less."""
    return _CALLER not in thread


def _own_frames(thread: str, folders: Sequence[Path]) -> Iterator[str]:
    """Innermost first."""
    for file, line, function in _FRAME.findall(thread):
        if place := as_written(file, folders):
            yield f"{place}, line {line}, in {function}"
