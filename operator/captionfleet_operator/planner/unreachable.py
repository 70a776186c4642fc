"""Statuses while the broker is out of reach: two conditions say so, all else stays as it was.

What was counted last may still be true; nobody can know, so nobody rewrites it.
"""

from collections.abc import Iterable

from captionfleet.resources import ModelStatus, PoolStatus
from captionfleet.resources.model_status import Condition
from captionfleet_operator.planner.conditions import Verdict, dated
from captionfleet_operator.planner.facts import timestamp
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.proof import status_before
from captionfleet_operator.planner.seen import ModelSeen, PoolSeen
from captionfleet_operator.planner.world import World

UNREACHABLE = "BrokerUnreachable"


def unreachable_model(world: World, memory: Memory, model: ModelSeen) -> ModelStatus:
    before, told = status_before(memory, model), world.broker_trouble
    verdicts: list[Verdict] = [
        ("QueueReady", False, UNREACHABLE, told),
        ("Ready", False, UNREACHABLE, told),
    ]
    generation = model.manifest.metadata.generation
    if before.message == told and _says(before.conditions, verdicts, generation):
        return before
    conditions = _replaced(world, before.conditions, verdicts, generation)
    return before.model_copy(update={"message": told, "conditions": conditions})


def unreachable_pool(world: World, memory: Memory, pool: PoolSeen) -> PoolStatus:
    before = memory.pool_statuses.get(pool.name) or pool.manifest.status or PoolStatus()
    verdict: Verdict = ("BrokerReachable", False, UNREACHABLE, world.broker_trouble)
    generation = pool.manifest.metadata.generation
    conditions = _replaced(world, before.conditions, [verdict], generation)
    return before.model_copy(update={"conditions": conditions})


def _says(conditions: Iterable[Condition], verdicts: Iterable[Verdict], generation: int) -> bool:
    said = {
        (each.type, each.status == "True", each.reason, each.message)
        for each in conditions
        if each.observed_generation == generation
    }
    return said.issuperset(verdicts)


def _replaced(
    world: World, before: list[Condition], verdicts: Iterable[Verdict], generation: int
) -> list[Condition]:
    """In the place they had; those that are new come last."""
    fresh = {each.type: each for each in dated(verdicts, before, timestamp(world.now), generation)}
    kept = [fresh.pop(each.type, each) for each in before]
    return kept + list(fresh.values())
