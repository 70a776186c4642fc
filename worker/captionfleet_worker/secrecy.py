"""Keeps what a process was told in secret from the other programs of its user."""

import ctypes

_PR_SET_DUMPABLE = 4


def be_unreadable() -> None:
    """Nobody but root may read this process's environment, memory and open files from now on.

    Engines run as the same user as their agent, and a person's code in them may look anywhere.
    What this process executes can be read again. Root may look all the same (CAP_SYS_PTRACE).
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
