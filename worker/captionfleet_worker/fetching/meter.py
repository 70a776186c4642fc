"""How far a download is and how fast: bytes in, a Download out. No I/O; the clock is given."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from threading import Lock

from captionfleet.messages import Download

_WINDOW_SECONDS = 5.0
"""Speed is what the last seconds brought: old ones say nothing about the rest."""


class Meter:
    """Counts the bytes of each file, from several threads."""

    def __init__(
        self, sizes: Mapping[str, int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`sizes`: bytes of every file that is needed, by name."""
        self._sizes = sizes
        self._there: dict[str, int] = {}
        self._clock = clock
        self._lock = Lock()
        self._marks: deque[tuple[float, int]] = deque()
        self._received = 0

    def at(self, name: str, there: int) -> None:
        """So much of a file is there, however it came."""
        with self._lock:
            self._there[name] = min(there, self._sizes[name])

    def received(self, name: str, count: int) -> None:
        """So many bytes of a file came just now."""
        with self._lock:
            self._there[name] = min(self._there.get(name, 0) + count, self._sizes[name])
            self._received += count

    def view(self) -> Download:
        with self._lock:
            speed = self._speed()
            done, total = sum(self._there.values()), sum(self._sizes.values())
            whole = sum(self._there.get(name) == size for name, size in self._sizes.items())
            return Download(
                files_done=whole, files_total=len(self._sizes),
                bytes_done=done, bytes_total=total, bytes_per_second=speed,
                seconds_left=(total - done) / speed if speed else None, file=self._current(),
            )  # fmt: skip

    def _current(self) -> str:
        """Of the files that have begun and are not whole, the one that lacks most."""
        lacking = [(self._sizes[name] - there, name) for name, there in self._there.items()]
        return max((each for each in lacking if each[0]), default=(0, ""))[1]

    def _speed(self) -> float | None:
        now = self._clock()
        self._marks.append((now, self._received))
        while len(self._marks) > 2 and now - self._marks[1][0] >= _WINDOW_SECONDS:
            self._marks.popleft()
        then, before = self._marks[0]
        return (self._received - before) / (now - then) if now > then else None
