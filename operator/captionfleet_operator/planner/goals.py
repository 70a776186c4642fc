"""How many copies each model should have: by pins, by seconds of waiting work, and for proof."""

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

from captionfleet_operator.planner.fitting import pools_for
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.proof import last_failure, to_prove, unproven_since
from captionfleet_operator.planner.seen import ModelSeen
from captionfleet_operator.planner.speed import work_seconds
from captionfleet_operator.planner.world import World


class Goal(NamedTuple):
    """Copies wanted of one model."""

    copies: int
    """Wanted now."""
    kept: int
    """Never fewer by idling: OnDemand loads late, but then keeps minCopies."""
    demanded: bool
    """Tasks wait, or are being worked on."""
    waiting_since: float
    """Since when it waits without any copy; orders the models that need their first."""
    proof: bool = False
    """Its one copy is wanted for the proof alone, which yields to everything else."""
    failed: bool = False
    """The proof failed before: it may use a worker, and neither brings nor holds one."""


_NOTHING_WANTED = Goal(copies=0, kept=0, demanded=False, waiting_since=0.0)


def goals(world: World, memory: Memory) -> dict[str, Goal]:
    return {name: _goal(world, memory, model) for name, model in world.models.items()}


def waiting_since(world: World, memory: Memory, wanted: Mapping[str, Goal]) -> Mapping[str, float]:
    """Model -> since when its tasks, or its proof, wait without any copy at all."""
    waiting = {name for name in world.demand if name in world.models and world.total(name)}
    waiting.update(name for name, goal in wanted.items() if goal.proof)
    return {
        name: memory.waiting_since.get(name) or wanted[name].waiting_since or world.now
        for name in sorted(waiting)
        if not world.copies_of(name)
    }


def _goal(world: World, memory: Memory, model: ModelSeen) -> Goal:
    pools = pools_for(world, model)
    if model.stopped or not pools:
        return _NOTHING_WANTED
    name, residency = model.name, model.residency
    demanded = world.total(name) > 0
    copies = model.floor
    if demanded:
        target = min(pool.spec.autoscaling.target_backlog_seconds for pool in pools)
        # While the speed is unknown one copy is enough: it is measured within seconds.
        work = work_seconds(world, memory, name) or 0.0
        copies = max(copies, 1, ceil(work / target))
    proof = copies == 0 and to_prove(world, memory, model)
    since = memory.waiting_since.get(name)
    if since is None:
        since = unproven_since(world, memory, model) if proof else world.now
    return Goal(
        copies=1 if proof else min(copies, residency.max_copies),
        kept=residency.min_copies,
        demanded=demanded,
        waiting_since=since,
        proof=proof,
        failed=proof and last_failure(memory, model) is not None,
    )
