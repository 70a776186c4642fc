"""The planner's one door: `plan(world, memory) -> (plan, memory)`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from captionfleet.messages import Wanted
from captionfleet.resources import ModelStatus, PoolStatus
from captionfleet_operator.planner.fitting import worker_takes
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.model_status import model_status, proven
from captionfleet_operator.planner.placement import Placement, place
from captionfleet_operator.planner.pool_status import pool_status
from captionfleet_operator.planner.rooms import told
from captionfleet_operator.planner.scaling import PoolPlan, size_pool
from captionfleet_operator.planner.sentences import model_sentence, pool_sentence
from captionfleet_operator.planner.world import WorkerSeen, World

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
    model_statuses: Mapping[str, ModelStatus] = field(default_factory=dict)
    pool_statuses: Mapping[str, PoolStatus] = field(default_factory=dict)


def plan(world: World, memory: Memory) -> tuple[Plan, Memory]:
    """Decide everything for this moment. Pure: the same world and memory give the same plan."""
    known = replace(memory, proven=proven(world, memory))
    placement = place(world, known)
    sized = {
        name: size_pool(world, known, placement, pool) for name, pool in sorted(world.pools.items())
    }
    decided = _explained(world, known, placement, {name: each for name, (each, _) in sized.items()})
    known = replace(known, pools={name: size for name, (_, size) in sized.items()})
    if not world.settled:
        return decided, known
    decided = _with_statuses(world, known, memory, placement, decided)
    decided = replace(
        decided,
        assignments=_assignments(world, known, placement),
        orphans=tuple(sorted(w for w, gone in world.orphans.items() if gone > ORPHAN_SECONDS)),
    )
    return decided, replace(
        known,
        loaded={worker: _loaded(wanted) for worker, wanted in decided.assignments.items()},
        avoided=placement.avoided,
        waiting_since=placement.waiting_since,
        model_statuses=decided.model_statuses,
        pool_statuses=decided.pool_statuses,
    )


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


def _with_statuses(
    world: World, memory: Memory, before: Memory, placement: Placement, decided: Plan
) -> Plan:
    """`before` still has the sizes that pools had before this plan."""
    return replace(
        decided,
        model_statuses={
            name: model_status(world, memory, placement, model, decided.waiting[name])
            for name, model in sorted(world.models.items())
        },
        pool_statuses={
            name: pool_status(world, before, pool, decided.pools[name], sentence)
            for name, sentence in decided.pool_sentences.items()
            for pool in [world.pools[name]]
        },
    )


def _assignments(
    world: World, memory: Memory, placement: Placement
) -> dict[str, dict[str, Wanted]]:
    """The whole wanted state of every worker: its copies, and files it has and may keep."""
    return {
        worker.id: {
            name: Wanted.LOADED if name in loaded else Wanted.CACHED
            for name in sorted(loaded | _kept_files(world, worker))
        }
        for _, worker in sorted(world.workers.items())
        for loaded in [_loaded_on(world, memory, placement, worker)]
    }


def _loaded_on(
    world: World, memory: Memory, placement: Placement, worker: WorkerSeen
) -> frozenset[str]:
    if worker.id in placement.loaded:
        return placement.loaded[worker.id]
    if worker.open:
        return frozenset()  # its pool is suspended or gone
    # A leaving or silent worker keeps what it has: nothing is moved under its hands.
    return told(memory, worker) & world.models.keys()


def _kept_files(world: World, worker: WorkerSeen) -> frozenset[str]:
    """Files the worker has, and those that need no fetching: a folder's, or custom code alone."""
    return frozenset(
        name
        for name, model in world.models.items()
        if (name in worker.heartbeat.cached or not model.fetched)
        if worker_takes(world, model, worker)
    )


def _loaded(wanted: Mapping[str, Wanted]) -> frozenset[str]:
    return frozenset(name for name, state in wanted.items() if state == Wanted.LOADED)
