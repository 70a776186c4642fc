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
    pools = {name: pool_plan for name, (pool_plan, _) in sized.items()}
    listening = Plan(
        pools=pools,
        waiting={
            name: model_sentence(world, known, placement, model)
            for name, model in sorted(world.models.items())
        },
        pool_sentences={
            name: pool_sentence(world, pool, pools[name])
            for name, pool in sorted(world.pools.items())
        },
    )
    sizes = {name: remembered for name, (_, remembered) in sized.items()}
    if not world.settled:
        return listening, replace(known, pools=sizes)
    full = replace(
        listening,
        orphans=tuple(
            sorted(w for w, seconds in world.orphans.items() if seconds > ORPHAN_SECONDS)
        ),
        assignments=_assignments(world, known, placement),
        model_statuses={
            name: model_status(world, known, placement, model, listening.waiting[name])
            for name, model in sorted(world.models.items())
        },
        pool_statuses={
            name: pool_status(
                world, known, memory.pools.get(name), pool, pools[name],
                listening.pool_sentences[name],
            )
            for name, pool in sorted(world.pools.items())
        },
    )  # fmt: skip
    return full, Memory(
        loaded={worker: _loaded(wanted) for worker, wanted in full.assignments.items()},
        avoided=placement.avoided,
        waiting_since=placement.waiting_since,
        proven=known.proven,
        pools=sizes,
        model_statuses=full.model_statuses,
        pool_statuses=full.pool_statuses,
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
    return frozenset(
        name
        for name in worker.heartbeat.cached
        if (model := world.models.get(name)) and worker_takes(world, model, worker)
    )


def _loaded(wanted: Mapping[str, Wanted]) -> frozenset[str]:
    return frozenset(name for name, state in wanted.items() if state == Wanted.LOADED)
