"""Who makes room for a model that needs a place: idle, old enough and less important copies."""

from collections.abc import Mapping, Sequence

from captionfleet.messages import CopyState
from captionfleet_operator.planner.goals import Goal
from captionfleet_operator.planner.retention import old_enough
from captionfleet_operator.planner.rooms import Books, Eviction, Room, on_its_way
from captionfleet_operator.planner.seen import ModelSeen, at_work
from captionfleet_operator.planner.world import World

Victim = tuple[Room, str]


def make_room(
    world: World,
    model: ModelSeen,
    candidates: Sequence[Room],
    books: Books,
    wanted: Mapping[str, Goal],
    *,
    asked: bool = False,
) -> Room | None:
    """Drop the cheapest set of copies that makes one candidate fit; None if none can.

    `asked`: a person asked for it, so that pins and demanded models yield too.
    """
    evictable = _evictable(world, model, books, wanted, asked=asked)
    sets = [(room, _enough(world, model, room, evictable)) for room in candidates]
    possible = [(room, victims) for room, victims in sets if victims]
    if not possible:
        return None
    # min() keeps the order of the candidates, the cheapest room first, among equals.
    room, victims = min(
        possible,
        key=lambda each: (max(_value(world, v, wanted) for v in each[1]), len(each[1])),
    )
    for victim in victims:
        evict(world, victim, model, books)
    return room


def free_bytes(
    world: World,
    model: ModelSeen,
    need: int,
    room: Room,
    books: Books,
    wanted: Mapping[str, Goal],
) -> bool:
    """Drop copies that nobody wants, so that `need` bytes become free for a second copy there.

    Drops nothing and returns False if that would not be enough.
    """
    idle = dict(wanted) | {model.name: wanted[model.name]._replace(proof=True)}
    lacking, chosen = need - room.domain.free_later, []
    for other, name in _evictable(world, model, books, idle):
        if lacking > 0 and name != model.name and other.domain is room.domain:
            chosen.append((other, name))
            lacking -= other.held(world.models[name])
    if lacking > 0:
        return False
    for victim in chosen:
        evict(world, victim, model, books)
    return True


def yielding_proof(
    rooms: Sequence[Room], model: ModelSeen, wanted: Mapping[str, Goal]
) -> Victim | None:
    """A proof that is on its way in one of these rooms, and holds up the model there."""
    for room in rooms:
        before = [] if room.may_load else room.loading
        for name in before + (room.fetching if room.queues(model) else []):
            if wanted[name].proof and name not in room.asked:
                return room, name
    return None


def evict(world: World, victim: Victim, winner: ModelSeen, books: Books) -> None:
    room, name = victim
    room.drop(world.models[name])
    books.evictions.append(Eviction(name, room.id, winner.name))


def _evictable(
    world: World,
    model: ModelSeen,
    books: Books,
    wanted: Mapping[str, Goal],
    *,
    asked: bool = False,
) -> list[Victim]:
    evictable: list[Victim] = []
    for name, holders in sorted(books.holders.items()):
        victim, goal = world.models[name], wanted[name]
        protected = 0 if asked else _protected(model, victim, books, goal, wanted[model.name])
        spare = len(holders) - protected
        if spare <= 0:
            continue
        willing = [
            (room, name)
            for room in holders
            if name not in room.asked and _may_leave(victim, goal, room)
        ]
        willing.sort(key=lambda each: _value(world, each, wanted))
        evictable += willing[:spare]
    return sorted(evictable, key=lambda victim: _value(world, victim, wanted))


def _protected(model: ModelSeen, victim: ModelSeen, books: Books, goal: Goal, own: Goal) -> int:
    """How many copies of `victim` may not go for a copy of `model`.

    Pins always stay. The last copy of a demanded model yields only to a pin or to priority, so
    that two demanded models never take turns in throwing each other out. A proof takes the place
    of nothing that anybody wants.
    """
    if own.proof:
        return max(victim.floor, goal.kept, goal.copies)
    if goal.proof:
        return 0
    pinned = len(books.holding(model.name)) < model.floor
    higher = model.residency.priority > victim.residency.priority
    yields = pinned or higher or not goal.demanded
    return victim.floor if yields else max(victim.floor, 1)


def _may_leave(victim: ModelSeen, goal: Goal, room: Room) -> bool:
    """Never one at work or a young one, nor one on its way unless it is a mere proof."""
    copy = room.copy(victim.name)
    if on_its_way(copy):
        return goal.proof
    if copy is None or copy.state == CopyState.UNLOADING:
        return False
    return copy.state == CopyState.FAILED or (not at_work(copy) and old_enough(victim, copy))


def _value(
    world: World, victim: Victim, wanted: Mapping[str, Goal]
) -> tuple[bool, bool, int, float]:
    """What is lost by evicting it: the least valuable comes first."""
    room, name = victim
    copy = room.copy(name)
    idle = copy.idle_seconds if copy else 0.0
    goal = wanted[name]
    return goal.demanded, goal.proof, world.models[name].residency.priority, -idle


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
    freed = sum(r.held(world.models[n]) for r, n in gone if r.domain is room.domain)
    taken = len(room.keeping) + room.awaited - sum(r is room for r, _ in gone)
    return taken < room.slots and room.need(model) <= room.domain.free_later + freed
