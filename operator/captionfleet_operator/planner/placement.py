"""Which copy goes to which worker, who must make room for it, and why a model waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from captionfleet_operator.planner.eviction import make_room
from captionfleet_operator.planner.fitting import gigabytes, pools_for, worker_takes
from captionfleet_operator.planner.goals import Goal, goals, waiting_since
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.retention import let_go, move_failed
from captionfleet_operator.planner.rooms import Room, open_rooms
from captionfleet_operator.planner.world import ModelSeen, World


class Lack(Enum):
    """What a model waits for."""

    WORKER = "NoWorker"
    LOAD_SLOT = "OthersLoadFirst"
    LEAVERS = "WaitingForUnload"
    MEMORY = "InsufficientMemory"
    SLOTS = "TooManyModels"


@dataclass(frozen=True)
class Wait:
    """Why a model has fewer copies than it should have."""

    lack: Lack
    sentence: str
    pool: str
    """The pool that could help."""


@dataclass(frozen=True)
class Placement:
    loaded: Mapping[str, frozenset[str]]
    """Worker -> models it shall load; open workers only."""
    goals: Mapping[str, Goal]
    waits: Mapping[str, Wait]
    avoided: Mapping[tuple[str, str], float]
    waiting_since: Mapping[str, float]
    rooms: Sequence[Room] = field(repr=False)

    def count(self, model: str) -> int:
        return sum(model in models for models in self.loaded.values())


def place(world: World, memory: Memory) -> Placement:
    """Keep what may stay, then serve pins, then first copies for waiting tasks, then more."""
    wanted = goals(world, memory)
    rooms = open_rooms(world, memory)
    let_go(world, rooms, wanted)
    avoided = move_failed(world, memory, rooms)
    waits: dict[str, Wait] = {}
    for name, evicting in _order(world, wanted, rooms):
        wait = _serve(world, world.models[name], rooms, wanted, avoided, evicting=evicting)
        if wait and name not in waits and evicting:
            waits[name] = wait
    return Placement(
        loaded={room.id: frozenset(room.keeping) for room in rooms},
        goals=wanted,
        waits=waits,
        avoided=avoided,
        waiting_since=waiting_since(world, memory),
        rooms=rooms,
    )


def _order(
    world: World, wanted: Mapping[str, Goal], rooms: Sequence[Room]
) -> list[tuple[str, bool]]:
    """(model, may evict) once per missing copy: pins, then first copies, then more copies."""
    needs: list[tuple[int, int, float, str]] = []
    for name, goal in wanted.items():
        held = sum(name in room.keeping for room in rooms)
        for number in range(held, goal.copies):
            tier = 0 if number < world.models[name].floor else 1 if number == 0 else 2 + number
            priority = world.models[name].residency.priority
            needs.append((tier, -priority, goal.waiting_since, name))
    return [(name, tier < 2) for tier, _, _, name in sorted(needs)]


def _serve(
    world: World,
    model: ModelSeen,
    rooms: Sequence[Room],
    wanted: Mapping[str, Goal],
    avoided: Mapping[tuple[str, str], float],
    *,
    evicting: bool,
) -> Wait | None:
    """Give the model one more copy, or hold a place for it; returns what it waits for."""
    name = model.manifest.name
    open_to_it = [
        r for r in rooms if name not in r.keeping and worker_takes(world, model, r.worker)
    ]
    open_to_it.sort(key=lambda room: _cost(room, name, wanted, avoided))
    if not open_to_it:
        return _no_worker(world, model)
    now = [room for room in open_to_it if room.fits(model)]
    if free := next((room for room in now if room.may_load), None):
        free.keep(model)
        return None
    if now:
        now[0].promise(model)
        return _turn_to_load(now[0])
    if not evicting:
        return None
    later = [room for room in open_to_it if room.fits_later(model)]
    room = later[0] if later else make_room(world, model, open_to_it, rooms, wanted)
    if room is None:
        return _does_not_fit(model, open_to_it)
    room.promise(model)
    leaving = sorted({n for other in rooms if other.domain is room.domain for n in other.leaving})
    sentence = (
        f"waiting for {', '.join(leaving) or 'a copy'} to unload before it loads on {room.id}"
    )
    return Wait(Lack.LEAVERS, sentence, room.pool.name)


def _cost(
    room: Room,
    model: str,
    wanted: Mapping[str, Goal],
    avoided: Mapping[tuple[str, str], float],
) -> tuple[bool, bool, bool, int, int, str]:
    """The cheapest room comes first."""
    busy = sum(wanted[other].demanded for other in room.keeping)
    return (
        (model, room.id) in avoided,
        model not in room.leaving,
        model not in room.worker.heartbeat.cached,
        busy,
        -room.domain.free,
        room.id,
    )


def _no_worker(world: World, model: ModelSeen) -> Wait:
    pools = pools_for(world, model)
    holding = {worker.pool for worker in world.workers.values() if worker.open}
    best = min(pools, key=lambda pool: (pool.name not in holding, -len(pool.own), pool.name))
    return Wait(Lack.WORKER, f"waiting for another worker in pool {best.name}", best.name)


def _turn_to_load(room: Room) -> Wait:
    first = ", ".join(room.loading)
    sentence = f"waiting for its turn to load on {room.id}: {first} loads there first"
    return Wait(Lack.LOAD_SLOT, sentence, room.pool.name)


def _does_not_fit(model: ModelSeen, rooms: Sequence[Room]) -> Wait:
    free_slot = [room for room in rooms if len(room.keeping) + len(room.leaving) < room.slots]
    if not free_slot:
        room = rooms[0]
        sentence = (
            f"waiting for a place: hosting.maxModels of pool {room.pool.name} is {room.slots} "
            "and the models there are needed"
        )
        return Wait(Lack.SLOTS, sentence, room.pool.name)
    room = max(free_slot, key=lambda room: room.domain.free)
    sentence = (
        f"waiting for memory: needs {gigabytes(room.need(model))}, "
        f"largest free is {gigabytes(room.domain.free)} on {room.id}"
    )
    return Wait(Lack.MEMORY, sentence, room.pool.name)
