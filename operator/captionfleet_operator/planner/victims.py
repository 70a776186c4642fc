"""Which workers leave when a pool shrinks: those with the least to lose."""

from captionfleet_operator.planner.fitting import worker_takes
from captionfleet_operator.planner.placement import Placement
from captionfleet_operator.planner.rooms import Room
from captionfleet_operator.planner.seen import OwnWorker, PoolSeen
from captionfleet_operator.planner.world import World


def victims(
    world: World, placement: Placement, pool: PoolSeen, count: int, *, forced: bool
) -> tuple[str, ...]:
    """Up to `count` workers to drain, cheapest first.

    Unless forced, a worker stays if a pinned or demanded model would have no place without it.
    """
    if count <= 0:
        return ()
    chosen: list[str] = []
    rooms = {room.id: room for room in placement.books.rooms}
    for own in sorted(pool.staying, key=lambda own: _loss(world, placement, own)):
        if len(chosen) == count:
            break
        room = rooms.get(own.id)
        others = [r for r in placement.books.rooms if r.id != own.id and r.id not in chosen]
        if forced or room is None or _can_do_without(world, placement, room, others):
            chosen.append(own.id)
    return tuple(chosen)


def _loss(
    world: World, placement: Placement, own: OwnWorker
) -> tuple[bool, int, int, int, float, float]:
    """Not heard yet, then by work in hand, pins, demanded copies, load time, youngest first."""
    worker = world.workers.get(own.id)
    if worker is None:
        return False, 0, 0, 0, 0.0, own.age_seconds
    kept = placement.loaded.get(own.id, frozenset())
    return (
        True,
        len(worker.heartbeat.held),
        sum(world.models[name].floor > 0 for name in kept),
        sum(placement.goals[name].demanded for name in kept),
        sum(copy.load_seconds or 0.0 for copy in worker.heartbeat.copies),
        own.age_seconds,
    )


def _can_do_without(world: World, placement: Placement, leaver: Room, others: list[Room]) -> bool:
    """Every copy that is wanted here is enough elsewhere, or fits elsewhere without eviction."""
    moving: dict[str, list[str]] = {}
    for name in sorted(leaver.keeping):
        goal = placement.goals[name]
        elsewhere = sum(name in room.keeping for room in others)
        enough = min(goal.copies, max(1, world.models[name].floor))
        if goal.failed or elsewhere >= enough:
            continue
        home = next((room for room in others if _takes(world, room, leaver, name, moving)), None)
        if home is None:
            return False
        moving.setdefault(home.id, []).append(name)
    return True


def _takes(world: World, room: Room, leaver: Room, name: str, moving: dict[str, list[str]]) -> bool:
    model, guests = world.models[name], moving.get(room.id, [])
    if name in room.keeping or len(room.keeping) + len(guests) >= room.slots:
        return False
    if not worker_takes(world, model, room.worker):
        return False
    # In shared memory the copy moves into the very bytes that its leaving frees.
    if room.domain is leaver.domain:
        return True
    need = room.need(model) + sum(room.need(world.models[guest]) for guest in guests)
    return need <= room.domain.free
