"""Which copies stay: everything told to load stays, unless one of these rules lets it go."""

from collections.abc import Iterator, Mapping, Sequence

from captionfleet.messages import Copy, CopyState
from captionfleet_operator.planner.fitting import worker_takes
from captionfleet_operator.planner.goals import Goal
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.proof import failed_by_worker
from captionfleet_operator.planner.rooms import Books, Room, occupies
from captionfleet_operator.planner.seen import ModelSeen, at_work
from captionfleet_operator.planner.world import World

AVOID_SECONDS = 300.0
"""How long a worker where a model failed for the worker's own reasons is passed over."""


def let_go(world: World, books: Books, goals: Mapping[str, Goal]) -> None:
    """Drop what may not stay: forbidden, never begun, failed, surplus or idle copies."""
    for name, rooms in sorted(books.holders.items()):
        model = world.models[name]
        for room in list(rooms):
            if not _may_stay(world, model, room):
                room.drop(model)
        for room in _leavers(model, list(rooms), goals[name]):
            room.drop(model)


def move_failed(world: World, memory: Memory, books: Books) -> Mapping[tuple[str, str], float]:
    """Drop a copy that failed for its worker's reasons if another worker can take it.

    Returns (model, worker) -> until when it is avoided. A worker is tried again only after
    that, so a model that fails everywhere settles where it failed last.
    """
    avoided = {pair: until for pair, until in memory.avoided.items() if until > world.now}
    for name, room in _failing(books.rooms):
        model = world.models[name]
        if failed_by_worker(model, room.copy(name)):
            avoided.setdefault((name, room.id), world.now + AVOID_SECONDS)
            if any(
                (name, other.id) not in avoided and other.fits(model)
                for other in books.open_to(world, model)
            ):
                room.drop(model)
    return avoided


def _failing(rooms: Sequence[Room]) -> list[tuple[str, Room]]:
    failing = [
        (name, room)
        for room in rooms
        for name, copy in room.worker.copies.items()
        if copy.state == CopyState.FAILED and name in room.keeping and name not in room.asked
    ]
    return sorted(failing, key=lambda each: (each[0], each[1].id))


def _may_stay(world: World, model: ModelSeen, room: Room) -> bool:
    if model.stopped or not worker_takes(world, model, room.worker):
        return False
    # What takes nothing yet, and needs more than there is, is not tried in vain.
    return occupies(room.copy(model.name)) or room.domain.free >= 0


def _leavers(model: ModelSeen, holders: list[Room], goal: Goal) -> Iterator[Room]:
    """Rooms that shall drop the model, in the order in which they are easiest to miss."""
    name, left = model.name, len(holders)
    ready = sum(_is(room.copy(name), CopyState.READY) for room in holders)
    for room in sorted(holders, key=lambda room: _ease(room.copy(name))):
        copy = room.copy(name)
        if name in room.asked:
            goes = False
        elif copy is None:
            goes = left > goal.copies
        elif copy.state == CopyState.FAILED:
            goes = goal.copies == 0 or ready >= goal.copies
        elif copy.state != CopyState.READY or at_work(copy):
            goes = False
        elif left > model.residency.max_copies:
            goes = True
        else:
            goes = left > max(goal.copies, goal.kept) and _idle_enough(model, room, copy)
        if goes:
            left -= 1
            yield room


def _ease(copy: Copy | None) -> tuple[int, float]:
    if copy is None:
        return 0, 0.0
    if copy.state == CopyState.FAILED:
        return 1, 0.0
    return 2, -copy.idle_seconds


def _is(copy: Copy | None, state: CopyState) -> bool:
    return copy is not None and copy.state == state


def _idle_enough(model: ModelSeen, room: Room, copy: Copy) -> bool:
    idle = copy.idle_seconds + room.worker.silent_seconds
    return idle >= model.residency.idle_unload_seconds and old_enough(model, copy)


def old_enough(model: ModelSeen, copy: Copy) -> bool:
    return copy.state_seconds >= model.residency.min_residency_seconds
