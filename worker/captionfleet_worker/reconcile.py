"""What a worker does next about its assignment: assignment and copies in, actions out. Pure.

Level-triggered: it compares what shall be with what is, and forgets how either came about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from captionfleet.messages import Change, CopyState, Generation, Wanted

_ON_ITS_WAY = (CopyState.LOADING, CopyState.DOWNLOADING)


@dataclass(frozen=True)
class WantedCopy:
    """A model that shall be loaded, and what its copy is made of."""

    fingerprint: str
    code: str | None
    """sha256 of its custom code as it is on this worker now; None without custom code."""
    change: Change = Change.REPLACE
    """What becomes of a copy that serves and is made of something else."""


@dataclass(frozen=True)
class CopyFacts:
    """A copy as it is."""

    model: str
    fingerprint: str
    code: str | None
    state: CopyState
    retry_at: float | None = None
    """When a failed copy may be tried again, by the caller's clock."""
    number: int = 0
    """Which of the worker's copies it is: a model may have two while one takes over."""
    serves: bool = False
    """It has passed its smoke test and answers tasks, or will again once its engine is back."""


class Verb(Enum):
    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True)
class Action:
    verb: Verb
    model: str
    number: int = 0
    """The copy that is unloaded, or that failed and is tried again."""


def next_actions(
    wanted: Mapping[str, WantedCopy], copies: Sequence[CopyFacts], now: float
) -> list[Action]:
    """Actions to begin now. What is begun fetches and loads when its turn comes, in this order.

    A copy made of something else is unloaded first, and its successor loaded once it is gone; but
    if it serves and its successor may be loaded beside it, it goes when that one is ready. A failed
    copy that is still wanted stays as it is until its time has come.
    """
    there: dict[str, list[CopyFacts]] = {}
    for copy in copies:
        there.setdefault(copy.model, []).append(copy)
    leaving = [copy for model, each in there.items() for copy in _leaving(each, wanted.get(model))]
    loads = [
        load
        for model, wish in wanted.items()
        if (load := _load(model, wish, there.get(model, []), leaving, now))
    ]
    # What failed before does not hold up what is fresh.
    failed = {copy.model for copy in copies if copy.state == CopyState.FAILED}
    loads.sort(key=lambda load: (load.model in failed, load.model))
    unloads = [Action(Verb.UNLOAD, copy.model, copy.number) for copy in leaving]
    return unloads + loads


def _leaving(copies: Sequence[CopyFacts], wanted: WantedCopy | None) -> list[CopyFacts]:
    """Copies of one model to unload now."""
    staying = [copy for copy in copies if copy.state != CopyState.UNLOADING]
    if wanted is None:
        return staying
    successors = [copy for copy in staying if _fits(copy, wanted)]
    return [
        copy
        for copy in staying
        if copy not in successors and not (copy.serves and _goes_on(wanted, successors))
    ]


def _goes_on(wanted: WantedCopy, successors: Sequence[CopyFacts]) -> bool:
    """An old copy that serves is still needed."""
    if any(copy.state == CopyState.READY for copy in successors):
        return False
    if wanted.change != Change.REPLACE:
        return True
    # It was allowed beside the old one, and memory is taken already: the rest of the way is short.
    return any(copy.state in _ON_ITS_WAY for copy in successors)


def _load(
    model: str,
    wanted: WantedCopy,
    copies: Sequence[CopyFacts],
    leaving: Sequence[CopyFacts],
    now: float,
) -> Action | None:
    """The load that the model needs now, if it may begin."""
    if failed := next((c for c in copies if _fits(c, wanted) and _is_due(c, now)), None):
        return Action(Verb.LOAD, model, failed.number)
    if not copies:
        return Action(Verb.LOAD, model)
    alone = len(copies) == 1 and copies[0].serves and copies[0] not in leaving
    beside = alone and not _fits(copies[0], wanted) and wanted.change == Change.BESIDE
    return Action(Verb.LOAD, model) if beside else None


def _fits(copy: CopyFacts, wanted: WantedCopy) -> bool:
    return (copy.fingerprint, copy.code) == (wanted.fingerprint, wanted.code)


def _is_due(copy: CopyFacts, now: float) -> bool:
    return copy.state == CopyState.FAILED and copy.retry_at is not None and copy.retry_at <= now


@dataclass(frozen=True)
class FilesFacts:
    """The files of a model for which a person asked this worker, apart from any copy."""

    model: str
    wanted: Wanted
    """cached or absent."""
    here: bool
    """All of them; where they shall be absent, any of them."""
    used: bool
    """A copy of the model is on this worker, in whatever state."""
    retry_at: float | None = None
    """After a failure: when it may be tried again, by the caller's clock."""


def next_files(files: Sequence[FilesFacts], busy: bool, now: float) -> FilesFacts | None:
    """Whose files to fetch or delete now: one at a time, in the order of their names.

    Files that a copy uses are never deleted, nor fetched beside the copy that fetches them.
    """
    if busy:
        return None
    due = [
        each
        for each in files
        if not each.used
        and each.here == (each.wanted == Wanted.ABSENT)
        and (each.retry_at is None or each.retry_at <= now)
    ]
    return min(due, key=lambda each: (each.retry_at is not None, each.model), default=None)


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
