"""Trouble: what ends a command, in words with the remedy, and its exit code."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    FINE = 0
    FAILED = 1
    """Something asked for did not succeed, for example a picture without a caption."""
    USAGE = 2
    """The command was not understood, or names something that is not there."""
    UNREACHABLE = 3
    """The server did not answer."""
    INTERRUPTED = 130


class Trouble(Exception):
    """Ends the command. The message says what happened, why, and what to do."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code
