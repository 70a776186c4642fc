"""How many copies each model should have, by pins and by the seconds of work that wait."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from captionfleet_operator.planner.fitting import pools_for
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.speed import work_seconds
from captionfleet_operator.planner.world import ModelSeen, World


@dataclass(frozen=True)
class Goal:
    """Copies wanted of one model."""

    copies: int
    """Wanted now."""
    kept: int
    """Never fewer by idling: OnDemand loads late, but then keeps minCopies."""
    demanded: bool
    """Tasks wait, or are being worked on."""
    waiting_since: float
    """Since when they wait without any copy; orders the models that need their first."""


def goals(world: World, memory: Memory) -> dict[str, Goal]:
    return {name: _goal(world, memory, model) for name, model in world.models.items()}


def waiting_since(world: World, memory: Memory) -> Mapping[str, float]:
    """Model -> since when its tasks wait without any copy at all."""
    return {
        name: memory.waiting_since.get(name, world.now)
        for name in world.models
        if world.total(name) and not world.copies_of(name)
    }


def _goal(world: World, memory: Memory, model: ModelSeen) -> Goal:
    name, residency = model.manifest.name, model.residency
    since = memory.waiting_since.get(name, world.now)
    pools = pools_for(world, model)
    if model.spec.suspend or not pools:
        return Goal(copies=0, kept=0, demanded=False, waiting_since=since)
    copies = model.floor
    if world.total(name):
        target = min(pool.spec.autoscaling.target_backlog_seconds for pool in pools)
        # While the speed is unknown one copy is enough: it is measured within seconds.
        work = work_seconds(world, memory, name) or 0.0
        copies = max(copies, 1, ceil(work / target))
    return Goal(
        copies=min(copies, residency.max_copies),
        kept=residency.min_copies,
        demanded=world.total(name) > 0,
        waiting_since=since,
    )
