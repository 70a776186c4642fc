"""The planner's one door: `plan(world, memory) -> (plan, memory)`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from captionfleet.messages import Change, OverrideState, Wanted
from captionfleet.resources import ModelStatus, PoolStatus
from captionfleet_operator.planner.assignments import assignments, changes, loads
from captionfleet_operator.planner.facts import Facts, gather, timestamp
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.model_status import model_status
from captionfleet_operator.planner.need import NO_WORK, pool_works
from captionfleet_operator.planner.override_states import override_states
from captionfleet_operator.planner.placement import Placement, place
from captionfleet_operator.planner.pool_status import pool_status
from captionfleet_operator.planner.proof import proven, status_before
from captionfleet_operator.planner.rooms import Eviction
from captionfleet_operator.planner.scaling import PoolPlan, size_pool
from captionfleet_operator.planner.sentences import model_sentence, pool_sentence
from captionfleet_operator.planner.unreachable import unreachable_model, unreachable_pool
from captionfleet_operator.planner.world import World

ORPHAN_SECONDS = 120.0
"""A pool that vanishes for less, for example by a slip in a manifest, keeps its workers."""


@dataclass(frozen=True)
class Plan:
    """What shall be. Empty assignments and statuses mean: change nothing yet."""

    pools: Mapping[str, PoolPlan]
    waiting: Mapping[str, str]
    """Model -> one sentence that says why its tasks wait."""
    pool_sentences: Mapping[str, str]
    orphans: tuple[str, ...] = ()
    """Workers of ours to drain because their pool is gone."""
    assignments: Mapping[str, Mapping[str, Wanted]] = field(default_factory=dict)
    """Worker -> model -> wanted state."""
    changes: Mapping[tuple[str, str], Change] = field(default_factory=dict)
    """(worker, model) -> what becomes of an old copy that serves."""
    overrides: Mapping[str, Mapping[str, OverrideState]] = field(default_factory=dict)
    """Worker -> model -> what became of what a person asked there."""
    evictions: tuple[Eviction, ...] = ()
    """Copies that were told to go in this turn, so that another model gets their place."""
    model_statuses: Mapping[str, ModelStatus] = field(default_factory=dict)
    pool_statuses: Mapping[str, PoolStatus] = field(default_factory=dict)


def plan(world: World, memory: Memory) -> tuple[Plan, Memory]:
    """Decide everything for this moment. Pure: the same world and memory give the same plan."""
    known = replace(memory, proven=proven(world, memory))
    placement = place(world, known)
    works = pool_works(world, known, placement)
    sized = {
        name: size_pool(world, known, placement, pool, works.get(name, NO_WORK))
        for name, pool in sorted(world.pools.items())
    }
    decided = _explained(world, known, placement, {name: each for name, (each, _) in sized.items()})
    known = replace(known, pools={name: size for name, (_, size) in sized.items()})
    if not world.settled:
        return _unsettled(world, known, decided)
    return _settled(world, known, memory, placement, decided)


def _explained(
    world: World, memory: Memory, placement: Placement, pools: Mapping[str, PoolPlan]
) -> Plan:
    """Pool sizes, and a sentence for everything."""
    return Plan(
        pools=pools,
        waiting={
            name: model_sentence(world, memory, placement, model)
            for name, model in sorted(world.models.items())
        },
        pool_sentences={
            name: pool_sentence(world, pool, pools[name])
            for name, pool in sorted(world.pools.items())
        },
    )


def _unsettled(world: World, memory: Memory, decided: Plan) -> tuple[Plan, Memory]:
    """Nothing is known but that the broker is away, if it is."""
    if not world.broker_trouble:
        return decided, memory
    models = {name: unreachable_model(world, memory, m) for name, m in world.models.items()}
    pools = {name: unreachable_pool(world, memory, p) for name, p in world.pools.items()}
    return (
        replace(decided, model_statuses=models, pool_statuses=pools),
        replace(memory, model_statuses=models, pool_statuses=pools, told={}),
    )


def _settled(
    world: World, known: Memory, before: Memory, placement: Placement, decided: Plan
) -> tuple[Plan, Memory]:
    """`before` still has the sizes that pools had before this plan."""
    facts = {
        name: gather(world, known, placement, model, decided.waiting[name])
        for name, model in sorted(world.models.items())
    }
    loaded = loads(world, known, placement)
    decided = replace(
        decided,
        assignments=assignments(world, loaded),
        changes=changes(world, placement),
        overrides=override_states(world, known, placement),
        evictions=tuple(placement.books.evictions),
        orphans=tuple(sorted(w for w, gone in world.orphans.items() if gone > ORPHAN_SECONDS)),
        model_statuses={name: _status(world, known, each) for name, each in facts.items()},
        pool_statuses={
            name: pool_status(world, before, world.pools[name], decided.pools[name], sentence)
            for name, sentence in decided.pool_sentences.items()
        },
    )
    return decided, replace(
        known,
        loaded=loaded,
        avoided=placement.avoided,
        waiting_since=placement.waiting_since,
        model_statuses=decided.model_statuses,
        pool_statuses=decided.pool_statuses,
        told=facts,
    )


def _status(world: World, memory: Memory, facts: Facts) -> ModelStatus:
    """The very status it has, as long as nothing that it tells of has changed."""
    name = facts.name
    if name in memory.model_statuses and memory.told.get(name) == facts:
        return memory.model_statuses[name]
    model = world.models[name]
    before = status_before(memory, model)
    return model_status(model, facts, before, world.fleet, timestamp(world.now))
