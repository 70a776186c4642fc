"""How long a worker that ended by itself stays down: longer each time, until one lives on."""

from dataclasses import dataclass

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
LIVED_SECONDS = 60.0
"""A worker that lived so long was well: the pauses start anew."""


@dataclass(frozen=True)
class Backoff:
    """One place in a pool whose worker ended."""

    failures: int
    until: float
    sentence: str


def after_end(before: Backoff | None, *, now: float, lived: float, what: str) -> Backoff:
    """The back-off after another end; `what` says which worker ended and how."""
    failures = 1 if before is None or lived >= LIVED_SECONDS else before.failures + 1
    pause = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
    return Backoff(failures, now + pause, what)
