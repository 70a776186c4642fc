"""Who makes room for a model that needs a place: idle, old enough and less important copies."""

from collections.abc import Mapping, Sequence

from captionfleet.messages import CopyState
from captionfleet_operator.planner.goals import Goal
from captionfleet_operator.planner.retention import old_enough
from captionfleet_operator.planner.rooms import Room
from captionfleet_operator.planner.world import ModelSeen, World, at_work

Victim = tuple[Room, str]


def make_room(
    world: World,
    model: ModelSeen,
    candidates: Sequence[Room],
    rooms: Sequence[Room],
    wanted: Mapping[str, Goal],
) -> Room | None:
    """Drop the cheapest set of copies that makes one candidate fit; None if none can."""
    evictable: list[Victim] = []
    for name, victim in sorted(world.models.items()):
        holders = [room for room in rooms if name in room.keeping]
        spare = len(holders) - _protected(model, victim, rooms, wanted[name])
        willing = [(room, name) for room in holders if _may_leave(victim, room)]
        willing.sort(key=lambda each: _value(world, each, wanted))
        evictable += willing[: max(spare, 0)]
    evictable.sort(key=lambda victim: _value(world, victim, wanted))
    sets = [(room, _enough(world, model, room, evictable)) for room in candidates]
    possible = [(room, victims) for room, victims in sets if victims]
    if not possible:
        return None
    # min() keeps the order of the candidates, the cheapest room first, among equals.
    room, victims = min(
        possible,
        key=lambda each: (max(_value(world, v, wanted) for v in each[1]), len(each[1])),
    )
    for other, name in victims:
        other.drop(world.models[name])
    return room


def _protected(model: ModelSeen, victim: ModelSeen, rooms: Sequence[Room], goal: Goal) -> int:
    """How many copies of `victim` may not go for a copy of `model`.

    Pins always stay. The last copy of a demanded model yields only to a pin or to priority, so
    that two demanded models never take turns in throwing each other out.
    """
    pinned = sum(model.manifest.name in room.keeping for room in rooms) < model.floor
    higher = model.residency.priority > victim.residency.priority
    yields = pinned or higher or not goal.demanded
    return victim.floor if yields else max(victim.floor, 1)


def _may_leave(victim: ModelSeen, room: Room) -> bool:
    """Never one at work, one still on its way, or a young one."""
    copy = room.copy(victim.manifest.name)
    if copy is None or copy.state not in (CopyState.READY, CopyState.FAILED):
        return False
    return copy.state == CopyState.FAILED or (not at_work(copy) and old_enough(victim, copy))


def _value(world: World, victim: Victim, wanted: Mapping[str, Goal]) -> tuple[bool, int, float]:
    """What is lost by evicting it: the least valuable comes first."""
    room, name = victim
    copy = room.copy(name)
    idle = copy.idle_seconds if copy else 0.0
    return wanted[name].demanded, world.models[name].residency.priority, -idle


def _enough(world: World, model: ModelSeen, room: Room, evictable: list[Victim]) -> list[Victim]:
    """The fewest of the least valuable copies whose leaving makes the model fit; [] if none."""
    chosen: list[Victim] = []
    if not _fits_without(world, model, room, []):
        for victim in evictable:
            chosen.append(victim)
            if _fits_without(world, model, room, chosen):
                break
        else:
            return []
    for victim in list(reversed(chosen)):
        fewer = [other for other in chosen if other != victim]
        if fewer and _fits_without(world, model, room, fewer):
            chosen = fewer
    return chosen


def _fits_without(world: World, model: ModelSeen, room: Room, gone: list[Victim]) -> bool:
    freed = sum(r.need(world.models[n]) for r, n in gone if r.domain is room.domain)
    taken = len(room.keeping) + room.awaited - sum(r is room for r, _ in gone)
    return taken < room.slots and room.need(model) <= room.domain.free_later + freed
