"""The next size of a pool: its need, slowed by stabilization, step limits and care for copies."""

from dataclasses import dataclass, replace

from captionfleet_operator.planner.memory import Memory, PoolMemory
from captionfleet_operator.planner.need import Size, Work, least, needed_size
from captionfleet_operator.planner.placement import Placement
from captionfleet_operator.planner.seen import PoolSeen
from captionfleet_operator.planner.victims import victims
from captionfleet_operator.planner.world import World

_STARTING_SECONDS = 120.0
"""A worker that has not been heard for so long since its start is no longer waited for."""


@dataclass(frozen=True)
class PoolPlan:
    workers: int
    """Workers of ours there shall be, those that leave not counted."""
    drain: tuple[str, ...]
    reason: str
    """Why the size changed; empty if it did not."""
    work_seconds: float
    """Seconds of work that wait for this pool, for one worker; assumed where not measured, so
    that an autoscaler hears of all work at once."""
    measured_seconds: float = 0.0
    """The measured part of it, for people."""
    limited: str = ""
    """Why maxReplicas keeps it smaller than its work asks for."""


def size_pool(
    world: World, memory: Memory, placement: Placement, pool: PoolSeen, work: Work
) -> tuple[PoolPlan, PoolMemory]:
    """Move the pool's size one step towards what its work needs."""
    last = memory.pools.get(pool.name) or _remembered(world, pool)
    measured = sum(work.measured.values())
    if work.backlog:
        last = replace(last, worked_at=world.now)
    if not world.settled:
        # Silence is not zero, but the decided size and the minimum need no news to hold.
        return PoolPlan(_unheard_size(pool, last), (), "", work.backlog, measured), last
    target = needed_size(world, placement, pool, last, work)
    now, leaving = _step(world, placement, pool, last, target)
    reason = target.reason if now.size != last.size else ""
    return PoolPlan(now.size, leaving, reason, work.backlog, measured, target.limited), now


def _remembered(world: World, pool: PoolSeen) -> PoolMemory:
    """After a restart the size in status counts, not what happens to run."""
    status = pool.manifest.status
    return PoolMemory(
        size=status.desired_replicas if status else len(pool.staying), worked_at=world.now
    )


def _unheard_size(pool: PoolSeen, last: PoolMemory) -> int:
    """What a person lowered is lowered once it is known who can be spared."""
    if pool.stopped:
        return 0
    return max(last.size, least(pool))


def _step(
    world: World, placement: Placement, pool: PoolSeen, last: PoolMemory, target: Size
) -> tuple[PoolMemory, tuple[str, ...]]:
    """The next size, after bounds, stabilization, step limits and care for what would leave."""
    auto = pool.spec.autoscaling
    size = _within_bounds(pool, last.size, target)
    more_since = _since(last.more_since, world.now, target.workers > size)
    fewer_since = _since(last.fewer_since, world.now, target.workers < size)
    grow = _is_due(more_since, world.now, auto.scale_up.stabilization_seconds)
    shrink = _is_due(fewer_since, world.now, auto.scale_down.stabilization_seconds)
    if grow and _may_grow(world, pool):
        size, more_since = min(target.workers, size + auto.scale_up.max_step), None
    if shrink and world.demand_fresh:
        size, fewer_since = max(target.workers, size - auto.scale_down.max_step), None
    forced = target.at_once or len(pool.staying) > auto.max_replicas
    leaving = victims(world, placement, pool, len(pool.staying) - size, forced=forced)
    # Whoever cannot leave yet is still part of the pool.
    size = size if forced else max(size, min(len(pool.staying) - len(leaving), last.size))
    return PoolMemory(size, more_since, fewer_since, last.worked_at), leaving


def _within_bounds(pool: PoolSeen, size: int, target: Size) -> int:
    """What a person set holds at once."""
    if target.at_once:
        return target.workers
    return min(max(size, pool.spec.autoscaling.min_replicas), pool.spec.autoscaling.max_replicas)


def _since(before: float | None, now: float, holds: bool) -> float | None:
    if not holds:
        return None
    return now if before is None else before


def _is_due(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since >= seconds


def _may_grow(world: World, pool: PoolSeen) -> bool:
    """Workers on their way are capacity: see what they bring before adding more."""
    return all(
        own.id in world.workers or own.age_seconds > _STARTING_SECONDS for own in pool.staying
    )
