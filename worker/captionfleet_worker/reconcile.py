"""What a worker does next about its assignment: assignment and copies in, actions out. Pure.

Level-triggered: it compares what shall be with what is, and forgets how either came about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from captionfleet.messages import CopyState, Generation


@dataclass(frozen=True)
class WantedCopy:
    """A model that shall be loaded, and what its copy is made of."""

    fingerprint: str
    code: str | None
    """sha256 of its custom code as it is on this worker now; None without custom code."""


@dataclass(frozen=True)
class CopyFacts:
    """A copy as it is."""

    model: str
    fingerprint: str
    code: str | None
    state: CopyState
    retry_at: float | None = None
    """When a failed copy may be tried again, by the caller's clock."""


class Verb(Enum):
    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True)
class Action:
    verb: Verb
    model: str


def next_actions(
    wanted: Mapping[str, WantedCopy], copies: Sequence[CopyFacts], now: float, *, most_loads: int
) -> list[Action]:
    """Actions to begin now. At most `most_loads` copies load at the same time.

    A copy made of something else is unloaded first; its successor is loaded once it is gone. A
    failed copy that is still wanted stays as it is until its time has come.
    """
    there = {copy.model: copy for copy in copies}
    unloads = [
        Action(Verb.UNLOAD, copy.model)
        for copy in copies
        if copy.state != CopyState.UNLOADING and not _fits(copy, wanted.get(copy.model))
    ]
    loading = sum(copy.state in (CopyState.LOADING, CopyState.DOWNLOADING) for copy in copies)
    leaving = {action.model for action in unloads}
    loads = [
        Action(Verb.LOAD, model)
        for model in sorted(wanted, key=lambda name: (name in there, name))
        if model not in leaving and _due(there.get(model), now)
    ]
    return unloads + loads[: max(0, most_loads - loading)]


def _fits(copy: CopyFacts, wanted: WantedCopy | None) -> bool:
    return wanted is not None and (copy.fingerprint, copy.code) == (
        wanted.fingerprint,
        wanted.code,
    )


def _due(copy: CopyFacts | None, now: float) -> bool:
    if copy is None:
        return True
    return copy.state == CopyState.FAILED and copy.retry_at is not None and copy.retry_at <= now


def retry_pause(failures: int, *, retriable: bool) -> float:
    """Seconds until a load is tried again after it failed `failures` times in a row.

    What the same files and code will not cure by themselves is tried seldom: a person may have
    put the missing file there meanwhile.
    """
    first, longest = (5.0, 300.0) if retriable else (60.0, 900.0)
    return float(min(longest, first * 2 ** min(failures - 1, 20)))


@dataclass(frozen=True)
class Order:
    """Which assignment counts, and which incarnations of the operator are over."""

    current: Generation | None = None
    past: frozenset[str] = field(default=frozenset())

    def accepts(self, offered: Generation) -> bool:
        """Newer, or the same again. An incarnation that was replaced never comes back."""
        if self.current is None:
            return True
        if offered.incarnation == self.current.incarnation:
            return offered.counter >= self.current.counter
        return offered.incarnation not in self.past

    def after(self, accepted: Generation) -> "Order":
        if self.current is None or self.current.incarnation == accepted.incarnation:
            return replace(self, current=accepted)
        return Order(accepted, self.past | {self.current.incarnation})
