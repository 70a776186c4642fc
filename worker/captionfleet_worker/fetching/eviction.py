"""Which downloaded models make room for another one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shelf:
    """One repository in the cache."""

    name: str
    size: int
    """Bytes."""
    used_at: float
    """Unix seconds of its last use."""
    in_use: bool
    """A worker uses it now, or wants it: it stays."""
    spared: bool = False
    """Its model is still in the catalog: it goes after those that nobody knows any more."""


def what_to_evict(shelves: Sequence[Shelf], lacking: int) -> list[str]:
    """Names to remove so that `lacking` bytes become free, least recently used first.

    Empty if nothing is lacking, and if all that may go would not be enough: then it may stay.
    """
    chosen: list[Shelf] = []
    free = 0
    for shelf in sorted(shelves, key=lambda each: (each.spared, each.used_at, each.name)):
        if free >= lacking:
            break
        if not shelf.in_use and shelf.size:
            chosen.append(shelf)
            free += shelf.size
    if free < lacking:
        return []
    return [shelf.name for shelf in _needed(chosen, free - lacking)]


def _needed(chosen: Sequence[Shelf], surplus: int) -> list[Shelf]:
    """Without those that the larger ones after them made needless."""
    kept = []
    for shelf in chosen:
        if shelf.size <= surplus:
            surplus -= shelf.size
        else:
            kept.append(shelf)
    return kept
