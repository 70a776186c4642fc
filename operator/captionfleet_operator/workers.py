"""What the loop asks of whatever runs the workers: processes of this machine, or pods."""

from dataclasses import dataclass
from typing import Protocol

from captionfleet_operator.planner import OwnWorker, Plan, World


@dataclass(frozen=True)
class Trouble:
    """Why a wanted worker does not run. Empty if nothing is known to be wrong."""

    sentence: str = ""
    reason: str = ""
    """The same as one word, for programs."""


class Workers(Protocol):
    """The workers that we started. `now` is Unix seconds."""

    shares_memory: bool
    """One more worker brings no memory."""

    def look(self, now: float) -> set[str]:
        """Notice what became of them. Returns the ids of those that ended since the last look."""

    def pools(self) -> set[str]:
        """Names of the pools that have workers, present in the catalog or not."""

    def of_pool(self, pool: str, now: float) -> tuple[OwnWorker, ...]: ...

    def selector(self, pool: str) -> str:
        """Labels of the pool's pods as text; empty where workers are no pods."""

    def trouble(self, pool: str, now: float) -> Trouble: ...

    def act(self, world: World, plan: Plan) -> None:
        """Start carrying out the plan's pool sizes; what fails is tried again by itself."""
