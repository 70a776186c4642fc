"""Who uses which repository of a cache that several workers share: marks in the cache itself.

A mark is a file that its worker touches while it uses the repository, so a worker that was
killed uses nothing for long. The folder around the marks tells the last use: it changes when one
comes or goes.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from captionfleet_worker.fetching.cache import OURS, Repository, folder_name

RENEW_SECONDS = 60.0
"""How often a worker touches its marks."""
_VALID_SECONDS = 5 * RENEW_SECONDS


class Uses:
    """The marks of one cache, as one worker sees and sets them."""

    def __init__(self, cache: Path, worker: str) -> None:
        self._folder = cache / OURS / "uses"
        self._worker = worker

    def begin(self, repo: str) -> None:
        """Raises OSError."""
        mark = self._marks(repo) / self._worker
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()

    def settle(self, used: Iterable[str]) -> None:
        """This worker uses these, and no others. Raises OSError."""
        repos = set(used)
        for repo in repos:
            self.begin(repo)
        names = {folder_name(repo) for repo in repos}
        for mark in self._folder.glob(f"*/{self._worker}"):
            if mark.parent.name not in names:
                mark.unlink(missing_ok=True)

    def used_by_others(self, repository: Repository) -> bool:
        """A worker other than this one uses it. Raises OSError."""
        now = self._now()
        for mark in self._marks(repository.name).glob("*"):
            if mark.name == self._worker:
                continue
            with suppress(FileNotFoundError):  # it was taken back just now
                if now - mark.stat().st_mtime < _VALID_SECONDS:
                    return True
        return False

    def used_at(self, repository: Repository) -> float:
        """Unix seconds of its last use, or of its coming."""
        marks = self._marks(repository.name)
        return (marks if marks.exists() else repository.folder).stat().st_mtime

    def forget(self, repository: Repository) -> None:
        for mark in self._marks(repository.name).glob("*"):
            mark.unlink(missing_ok=True)

    def _marks(self, repo: str) -> Path:
        return self._folder / folder_name(repo)

    def _now(self) -> float:
        """By the clock of the disk: that of another machine may differ from ours."""
        clock = self._folder / "clock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            clock.touch()
            return clock.stat().st_mtime
        except OSError:
            return time.time()
