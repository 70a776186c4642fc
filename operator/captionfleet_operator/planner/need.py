"""How many workers a pool needs right now, and why, before anything slows the change down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from captionfleet.resources.pool import AutoscalingMode
from captionfleet_operator.planner.memory import Memory, PoolMemory
from captionfleet_operator.planner.placement import Placement
from captionfleet_operator.planner.proof import PROOF_PATIENCE_SECONDS
from captionfleet_operator.planner.seen import PoolSeen
from captionfleet_operator.planner.speed import ASSUMED_RATE, work_seconds
from captionfleet_operator.planner.world import World

_PROOF_SECONDS = 1.0
"""What proofs add to a backlog, all together: enough to be heard by an autoscaler."""


@dataclass(frozen=True)
class Size:
    """What the pool should be, and why, as a sentence."""

    workers: int
    reason: str
    at_once: bool = False
    """A person said so: no stabilization, no step limit."""
    limited: str = ""
    """Why it is no more, as a sentence."""


@dataclass(frozen=True)
class Work:
    """Seconds that one worker needs for what waits for a pool."""

    measured: Mapping[str, float] = field(default_factory=dict)
    """By model that has tasks; 0 for those whose speed is unknown."""
    backlog: float = 0.0
    """In all; assumed where unknown, so that it is never 0 while somebody waits."""


NO_WORK = Work()


def pool_works(world: World, memory: Memory, placement: Placement) -> dict[str, Work]:
    """Pool -> what waits for it. Pools that nothing waits for are left out."""
    measured: dict[str, dict[str, float]] = {}
    backlog: dict[str, float] = {}
    for name in sorted(world.demand):
        if name not in world.models or not world.total(name):
            continue
        seconds = work_seconds(world, memory, name)
        for pool, part in _parts(world, placement, name).items():
            measured.setdefault(pool, {})[name] = (seconds or 0.0) * part
            assumed = world.total(name) / ASSUMED_RATE if seconds is None else seconds
            backlog[pool] = backlog.get(pool, 0.0) + assumed * part
    for pool in placement.proofs:
        backlog[pool] = max(backlog.get(pool, 0.0), _PROOF_SECONDS)
    return {pool: Work(measured.get(pool, {}), seconds) for pool, seconds in backlog.items()}


def needed_size(
    world: World, placement: Placement, pool: PoolSeen, last: PoolMemory, work: Work
) -> Size:
    """The size that is right now, before stabilization and step limits."""
    waiting, seconds = sorted(work.measured), sum(work.measured.values())
    if pool.stopped or is_fixed(pool):
        return Size(least(pool), _why_fixed(pool), at_once=True)
    auto = pool.spec.autoscaling
    reasons = [
        Size(auto.min_replicas, _why_least(world, last, seconds, auto.min_replicas)),
        *_for_pins(world, pool),
        *_for_work(placement, pool, waiting, seconds),
        *_for_room(world, placement, pool),
        *_for_proof(placement, pool),
    ]
    if auto.min_replicas == 0 and world.now - last.worked_at < auto.scale_to_zero_after_seconds:
        reasons.append(Size(min(last.size, 1), f"there was work {_ago(world, last)} s ago"))
    best = max(reasons, key=lambda size: size.workers)
    return _within_maximum(pool, _less(world, pool, best))


def least(pool: PoolSeen) -> int:
    if pool.stopped:
        return 0
    return pool.spec.replicas or 0 if is_fixed(pool) else pool.spec.autoscaling.min_replicas


def is_fixed(pool: PoolSeen) -> bool:
    """Its size stands in spec.replicas."""
    return pool.spec.autoscaling.mode != AutoscalingMode.BUILTIN


def _why_fixed(pool: PoolSeen) -> str:
    if pool.deleted:
        return "the pool is being deleted"
    if pool.stopped:
        return "the pool is suspended"
    if pool.spec.autoscaling.mode == AutoscalingMode.EXTERNAL:
        return f"an external autoscaler set replicas to {least(pool)}"
    return f"replicas is {least(pool)}"


def _why_least(world: World, last: PoolMemory, seconds: float, least: int) -> str:
    if last.size <= least:
        return f"minReplicas is {least}"
    if seconds:
        return f"only {seconds:.0f} s of work wait; minReplicas is {least}"
    return f"no work for {_ago(world, last)} s; minReplicas is {least}"


def _ago(world: World, last: PoolMemory) -> int:
    return round(world.now - last.worked_at)


def _for_pins(world: World, pool: PoolSeen) -> list[Size]:
    """Copies of one model need a worker each."""
    return [
        Size(model.floor, f"{model.name} is pinned to {model.floor} copies")
        for model in world.pins.get(pool.name, ())
    ]


def _for_work(
    placement: Placement, pool: PoolSeen, waiting: Sequence[str], seconds: float
) -> list[Size]:
    """As many workers as keep the wait at the target, but no more than copies can use."""
    if not waiting:
        return []
    target = pool.spec.autoscaling.target_backlog_seconds
    useful = max(1, sum(placement.goals[name].copies for name in waiting))
    named = ", ".join(waiting[:3])
    return [
        Size(1, f"tasks wait for {named}"),
        Size(
            min(ceil(seconds / target), useful),
            f"{seconds:.0f} s of work wait for {named}; {target} s per worker are fine",
        ),
    ]


def _for_room(world: World, placement: Placement, pool: PoolSeen) -> list[Size]:
    """One more than are heard, if a model waits for a place that a new worker would bring."""
    ready = sum(worker.open for worker in world.workers_of(pool.name))
    return [
        Size(ready + 1, f"{name} has no place on the workers there are")
        for name in placement.waits_for.get(pool.name, ())
        if placement.waits[name].one_more_helps and _may_bring_a_worker(world, placement, name)
    ]


def _may_bring_a_worker(world: World, placement: Placement, name: str) -> bool:
    if world.total(name):
        return True
    goal = placement.goals[name]
    waited = world.now - placement.waiting_since.get(name, world.now)
    return goal.proof and not goal.failed and waited >= PROOF_PATIENCE_SECONDS


def _for_proof(placement: Placement, pool: PoolSeen) -> list[Size]:
    names = placement.proofs.get(pool.name, ())
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    verb = "is" if len(names) == 1 else "are"
    return [Size(1, f"{', '.join(names[:3])}{more} {verb} to be proven")]


def _less(world: World, pool: PoolSeen, target: Size) -> Size:
    """Workers that joined from outside do part of the work, beyond the minimum."""
    outside = sum(not worker.own and worker.open for worker in world.workers_of(pool.name))
    fewer = max(pool.spec.autoscaling.min_replicas, target.workers - outside)
    return replace(target, workers=fewer) if outside else target


def _within_maximum(pool: PoolSeen, target: Size) -> Size:
    most = pool.spec.autoscaling.max_replicas
    if target.workers <= most:
        return target
    limited = f"{target.workers} workers would be right, maxReplicas is {most}: {target.reason}"
    return replace(target, workers=most, limited=limited)


def _parts(world: World, placement: Placement, model: str) -> dict[str, float]:
    """Pool -> the part of the model's work that falls on it.

    Pools that have copies share by their number. Without copies the work falls on one pool.
    """
    taking = world.takers[model]
    if world.models[model].stopped or not taking.pools:
        return {}
    holders = [room.pool.name for room in placement.books.holding(model)]
    if holders:
        return {pool: holders.count(pool) / len(holders) for pool in holders}
    wait = placement.waits.get(model)
    return {wait.pool if wait else taking.pools[0].name: 1.0}
