"""Sides that caption the same pictures in turn, and must say the same of them."""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.bench_throughput import write_pictures
from benchmarks.worker.figures import differing, load
from benchmarks.worker.setting import Setting

Way = Callable[[Path], Awaitable[tuple[float, list[str]]]]
"""Caption all pictures of a folder: seconds, and the captions."""
OURS = "worker"


class Rounds:
    """`ways` by side; `may_differ` are sides that compute in other numbers than the rest."""

    def __init__(
        self, setting: Setting, ways: dict[str, Way], may_differ: frozenset[str] = frozenset()
    ) -> None:
        self._setting = setting
        self._ways = ways
        self._may_differ = may_differ
        self.seconds: dict[str, list[float]] = {side: [] for side in ways}
        self.loads: list[float] = []
        self._differing = Counter[str]()

    async def run(self) -> None:
        for turn in range(1, self._setting.rounds + 1):
            folder = self._setting.work / f"round-{turn}"
            write_pictures(folder, self._setting.pictures, turn, self._setting.shape.picture_size)
            # Machines give much at first and less later: nobody shall always come first.
            await self._round(folder, backwards=turn % 2 == 0)
            self.loads.append(load())

    def differ(self, side: str) -> dict[str, object]:
        """The share of captions that this side wrote otherwise than the worker."""
        count = self._setting.pictures * len(self.loads)
        return {"captions_that_differ": round(self._differing[side] / count, 3)}

    async def _round(self, folder: Path, *, backwards: bool) -> None:
        """Each side once over the same pictures. Raises RuntimeError if they say other things."""
        said: dict[str, list[str]] = {}
        for side in reversed(self._ways) if backwards else self._ways:
            seconds, said[side] = await self._ways[side](folder)
            self.seconds[side].append(seconds)
        for side in said.keys() - {OURS}:
            setting = self._setting
            most = setting.pictures if side in self._may_differ else setting.most_differing
            self._differing[side] += differing(side, said[OURS], said[side], most)
