"""The ways out of an engine's process that a person's code may take: an exit, os._exit, a fork.

A wish to exit is an error of its line, os._exit tells first where it was called, and a forked
process that comes back from the code ends: it would answer the agent as if it were the engine.
"""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from captionfleet_worker.engine import last_words
from captionfleet_worker.engine.own_files import as_written

_forked_in: list[str] = []
"""In a process that the code forked: ` (own.py, line 6, in infer)`."""


class Left(Exception):
    """The code asked to end the process (SystemExit and its like). It is told, and nothing ends."""


@contextmanager
def staying() -> Iterator[None]:
    """Around all calls of a person's code: raises Left instead of what would end the engine."""
    engine = os.getpid()
    try:
        try:
            yield
        finally:
            if os.getpid() != engine:
                _end_fork(sys.exception())
    except Exception:
        raise
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
        raise Left(told).with_traceback(error.__traceback__) from None


def watch_exits(folders: Sequence[Path]) -> None:
    """From now on os._exit and forks are noticed. `folders` are where the code lies."""
    engine, end = os.getpid(), os._exit

    def tell_and_end(status: int) -> NoReturn:
        if os.getpid() == engine:
            last_words.tell()
        end(status)

    os._exit = tell_and_end
    os.register_at_fork(after_in_child=lambda: _note_fork(folders))


def _note_fork(folders: Sequence[Path]) -> None:
    _forked_in.clear()
    for frame, line in traceback.walk_stack(sys._getframe()):
        if place := as_written(frame.f_code.co_filename, folders):
            _forked_in.append(f" ({place}, line {line}, in {frame.f_code.co_name})")
            return


def _end_fork(error: BaseException | None) -> NoReturn:
    if isinstance(error, SystemExit):  # that is how it ends by itself
        os._exit(error.code if isinstance(error.code, int) else bool(error.code))
    with suppress(Exception):
        if error:
            traceback.print_exception(error)
        told = (
            f"A process that was forked{''.join(_forked_in)} came back from the model's code and "
            "was ended: end it there, by os._exit().\n"
        )
        os.write(2, told.encode())
    os._exit(1)
