"""How many workers a pool needs right now, and why, before anything slows the change down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from captionfleet.resources.pool import AutoscalingMode
from captionfleet_operator.planner.fitting import pools_for
from captionfleet_operator.planner.memory import Memory, PoolMemory
from captionfleet_operator.planner.placement import Lack, Placement
from captionfleet_operator.planner.speed import work_seconds
from captionfleet_operator.planner.world import PoolSeen, World


@dataclass(frozen=True)
class Size:
    """What the pool should be, and why, as a sentence."""

    workers: int
    reason: str
    at_once: bool = False
    """A person said so: no stabilization, no step limit."""


def pool_work(
    world: World, memory: Memory, placement: Placement, pool: PoolSeen
) -> dict[str, float]:
    """Model -> seconds of its work that fall on this pool, for each model it has tasks of."""
    shares = {name: _share(world, memory, placement, pool, name) for name in world.models}
    return {name: share for name, share in shares.items() if share is not None}


def needed_size(
    world: World,
    placement: Placement,
    pool: PoolSeen,
    last: PoolMemory,
    work: Mapping[str, float],
) -> Size:
    """The size that is right now, before stabilization and step limits."""
    waiting, seconds = sorted(work), sum(work.values())
    if pool.spec.suspend:
        return Size(0, "the pool is suspended", at_once=True)
    if is_off(pool):
        return Size(least(pool), f"replicas is {least(pool)}", at_once=True)
    auto = pool.spec.autoscaling
    reasons = [
        Size(auto.min_replicas, _why_least(world, last, seconds, auto.min_replicas)),
        *_for_pins(world, placement, pool),
        *_for_work(world, placement, pool, waiting, seconds),
        *_for_room(world, placement, pool),
    ]
    if auto.min_replicas == 0 and world.now - last.worked_at < auto.scale_to_zero_after_seconds:
        reasons.append(Size(min(last.size, 1), f"there was work {_ago(world, last)} s ago"))
    best = max(reasons, key=lambda size: size.workers)
    return _less(world, pool, replace(best, workers=min(best.workers, auto.max_replicas)))


def _why_least(world: World, last: PoolMemory, seconds: float, least: int) -> str:
    if last.size <= least:
        return f"minReplicas is {least}"
    if seconds:
        return f"only {seconds:.0f} s of work wait; minReplicas is {least}"
    return f"no work for {_ago(world, last)} s; minReplicas is {least}"


def _ago(world: World, last: PoolMemory) -> int:
    return round(world.now - last.worked_at)


def _for_pins(world: World, placement: Placement, pool: PoolSeen) -> list[Size]:
    """Copies of one model need a worker each."""
    return [
        Size(model.floor, f"{name} is pinned to {model.floor} copies")
        for name, model in sorted(world.models.items())
        if model.floor and pools_for(world, model)[:1] == [pool]
    ]


def _for_work(
    world: World, placement: Placement, pool: PoolSeen, waiting: Sequence[str], seconds: float
) -> list[Size]:
    """As many workers as keep the wait at the target, but no more than copies can use."""
    if not waiting:
        return []
    target = pool.spec.autoscaling.target_backlog_seconds
    useful = max(1, sum(placement.goals[name].copies for name in waiting))
    named = ", ".join(sorted(waiting)[:3])
    return [
        Size(1, f"tasks wait for {named}"),
        Size(
            min(ceil(seconds / target), useful),
            f"{seconds:.0f} s of work wait for {named}; {target} s per worker are fine",
        ),
    ]


def _for_room(world: World, placement: Placement, pool: PoolSeen) -> list[Size]:
    """One more than are heard, if a model waits for a place that a new worker would bring."""
    ready = sum(w.pool == pool.name and w.open for w in world.workers.values())
    return [
        Size(ready + 1, f"{name} has no place on the workers there are")
        for name, wait in sorted(placement.waits.items())
        if wait.pool == pool.name
        and (wait.lack == Lack.SLOTS or (wait.lack == Lack.MEMORY and not pool.shares_memory))
        and world.total(name)
    ]


def _less(world: World, pool: PoolSeen, target: Size) -> Size:
    """Workers that joined from outside do part of the work, beyond the minimum."""
    outside = sum(w.pool == pool.name and not w.own and w.open for w in world.workers.values())
    fewer = max(pool.spec.autoscaling.min_replicas, target.workers - outside)
    return replace(target, workers=fewer) if outside else target


def least(pool: PoolSeen) -> int:
    if pool.spec.suspend:
        return 0
    return pool.spec.replicas or 0 if is_off(pool) else pool.spec.autoscaling.min_replicas


def is_off(pool: PoolSeen) -> bool:
    return pool.spec.autoscaling.mode == AutoscalingMode.OFF


def _share(
    world: World, memory: Memory, placement: Placement, pool: PoolSeen, model: str
) -> float | None:
    """Seconds of the model's work that fall on this pool; None if it does not serve the model.

    Pools that have copies share by their number. Without copies the work falls on one pool.
    """
    seen = world.models[model]
    pools = [each.name for each in pools_for(world, seen)]
    if not world.total(model) or seen.spec.suspend or pool.name not in pools:
        return None
    work = work_seconds(world, memory, model) or 0.0
    holders = [room.pool.name for room in placement.rooms if model in room.keeping]
    if holders:
        return work * holders.count(pool.name) / len(holders) if pool.name in holders else None
    wait = placement.waits.get(model)
    return work if pool.name == (wait.pool if wait else pools[0]) else None
