"""What a model waits for that has fewer copies than it should have."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from captionfleet_operator.planner.fitting import gigabytes
from captionfleet_operator.planner.rooms import Room
from captionfleet_operator.planner.seen import ModelSeen


class Lack(Enum):
    """What a model waits for."""

    WORKER = "NoWorker"
    LOAD_SLOT = "OthersLoadFirst"
    LEAVERS = "WaitingForUnload"
    MEMORY = "InsufficientMemory"
    SLOTS = "TooManyModels"
    CODE = "CodeMissing"


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
    first = ", ".join(room.loading) or "another"
    sentence = f"waiting for its turn to load on {room.id}: {first} loads there first"
    return Wait(Lack.LOAD_SLOT, sentence, room.pool.name)


def does_not_fit(model: ModelSeen, rooms: Sequence[Room]) -> Wait:
    """Nothing may leave for it: it lacks a place or memory."""
    free_slot = [room for room in rooms if len(room.keeping) + len(room.leaving) < room.slots]
    if not free_slot:
        room = rooms[0]
        sentence = (
            f"waiting for a place: hosting.maxModels of pool {room.pool.name} is {room.slots} "
            "and the models there are needed"
        )
        return Wait(Lack.SLOTS, sentence, room.pool.name, one_more_helps=True)
    room = max(free_slot, key=lambda room: room.domain.free)
    sentence = (
        f"waiting for memory: needs {gigabytes(room.need(model))}, "
        f"largest free is {gigabytes(room.domain.free)} on {room.id}"
    )
    helps = not room.pool.shares_memory and any(
        other.need(model) <= other.domain.usable for other in rooms
    )
    return Wait(Lack.MEMORY, sentence, room.pool.name, one_more_helps=helps)
