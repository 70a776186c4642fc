"""What a model waits for that has fewer copies than it should have."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from captionfleet.sizes import gigabytes
from captionfleet_operator.planner.matching import first
from captionfleet_operator.planner.rooms import Books, Room
from captionfleet_operator.planner.seen import ModelSeen


class Lack(Enum):
    """What a model waits for."""

    WORKER = "NoWorker"
    LOAD_SLOT = "OthersLoadFirst"
    LEAVERS = "WaitingForUnload"
    MEMORY = "InsufficientMemory"
    SLOTS = "TooManyModels"
    CODE = "CodeMissing"
    KEPT_AWAY = "KeptAway"


@dataclass(frozen=True)
class Wait:
    """Why a model has fewer copies than it should have."""

    lack: Lack
    sentence: str
    pool: str
    """The pool that could help."""
    one_more_helps: bool = False
    """It would have its place on one more worker like those there are."""


def turn_to_load(room: Room) -> Wait:
    """It fits, and will load once others have."""
    loading = ", ".join(room.loading) or "another"
    sentence = f"waiting for its turn to load on {room.id}: {loading} loads there first"
    return Wait(Lack.LOAD_SLOT, sentence, room.pool.name)


def kept_away_from(model: ModelSeen, rooms: Sequence[Room]) -> Wait:
    """A person asked these workers not to load it."""
    workers = [room.id for room in rooms]
    sentence = (
        f"kept away from {first(workers, ', ')} by an override: release it there "
        f"(captionfleet release {model.name} --worker {workers[0]}), or wait for another worker"
    )
    return Wait(Lack.KEPT_AWAY, sentence, rooms[0].pool.name, one_more_helps=True)


def wait_for_leavers(books: Books, room: Room) -> str:
    """It will have its place once others have left."""
    sharing = [other for other in books.rooms if other.domain is room.domain]
    leaving = sorted({name for other in sharing for name in other.leaving})
    return f"waiting for {', '.join(leaving) or 'a copy'} to unload before it loads on {room.id}"


def does_not_fit(model: ModelSeen, rooms: Sequence[Room]) -> Wait:
    """Nothing may leave for it: it lacks a place or memory."""
    free_slot = [room for room in rooms if len(room.keeping) + len(room.leaving) < room.slots]
    if not free_slot:
        room = rooms[0]
        sentence = (
            f"waiting for a place: hosting.maxModels of pool {room.pool.name} is {room.slots} "
            "and the models there are needed"
        )
        # Where workers share memory, another one brings a place and no memory for it.
        helps = any(
            not each.pool.shares_memory or each.need(model) <= each.domain.free_later
            for each in rooms
        )
        return Wait(Lack.SLOTS, sentence, room.pool.name, one_more_helps=helps)
    room = max(free_slot, key=lambda room: room.domain.free)
    sentence = (
        f"waiting for memory: needs {gigabytes(room.need(model))}, "
        f"largest free is {gigabytes(room.domain.free)} on {room.id}"
    )
    helps = not room.pool.shares_memory and any(
        other.need(model) <= other.domain.usable for other in rooms
    )
    return Wait(Lack.MEMORY, sentence, room.pool.name, one_more_helps=helps)
