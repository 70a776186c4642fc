"""Models whose queue is missing on the broker: they are left alone for a while, ever longer."""

import time
from collections.abc import Callable
from dataclasses import dataclass

_SHORTEST = 1.0
_LONGEST = 10.0


@dataclass
class _Hold:
    until: float
    pause: float


class Holds:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._holds: dict[str, _Hold] = {}

    def hold(self, model: str) -> None:
        """Its queue was missing just now: wait, each time twice as long up to 10 s."""
        now, last = self._clock(), self._holds.get(model)
        if last and last.until > now:
            return  # the rest of the same attempt
        pause = min(2 * last.pause, _LONGEST) if last else _SHORTEST
        self._holds[model] = _Hold(now + pause, pause)

    def free(self, model: str) -> None:
        """Its queue took a task."""
        self._holds.pop(model, None)

    def __contains__(self, model: str) -> bool:
        return model in self._holds and self._holds[model].until > self._clock()

    def sentences(self) -> dict[str, str]:
        """Why each of them waits."""
        return {
            model: f"{model} has no queue on the broker; the operator declares it while it runs"
            for model in self._holds
            if model in self
        }
