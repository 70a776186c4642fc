"""How much of a model's work may be on the broker. Pure: reads copies, decides a number."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from captionfleet.messages import Copy, CopyState

LARGEST_BYTES = 64 * 10**6
_BATCHES_AHEAD = 3
_SECONDS_AHEAD = 2.0


@dataclass(frozen=True)
class Window:
    """Most tasks of one model that may be released at once, in each lane."""

    pictures: int
    suspects: int


@dataclass(frozen=True)
class Released:
    """What of one model is on the broker or at a worker now."""

    pictures: int = 0
    suspects: int = 0
    picture_bytes: int = 0


@dataclass(frozen=True)
class Room:
    """What may be released now."""

    pictures: int
    suspects: int
    picture_bytes: int


def takes_work(copy: Copy) -> bool:
    return copy.state is CopyState.READY and copy.consuming


def window(copies: Iterable[Copy]) -> Window:
    """The window over these copies of one model; zero unless one of them takes work."""
    ready = [copy for copy in copies if takes_work(copy)]
    return Window(sum(_pictures(copy) for copy in ready), len(ready))


def room(window: Window, released: Released) -> Room:
    return Room(
        pictures=max(0, window.pictures - released.pictures),
        suspects=max(0, window.suspects - released.suspects),
        picture_bytes=max(0, LARGEST_BYTES - released.picture_bytes),
    )


def fitting(sizes: Iterable[int], room_bytes: int) -> int:
    """How many of the first `sizes` (bytes) fit into the room."""
    return sum(total <= room_bytes for total in accumulate(sizes))


def _pictures(copy: Copy) -> int:
    best = copy.best_rate()
    rate = best[1] if best else 0.0
    batch = copy.batch_size or copy.max_batch_size
    return max(_BATCHES_AHEAD * batch, round(_SECONDS_AHEAD * rate), 1)
