"""Copies that a person asked a worker to load: before pins and the planner's own wishes.

They take the place of anything but of what a person asked for too, of work in flight, and of
copies younger than their minimum residency. They bring no worker and hold none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from captionfleet.sizes import gigabytes
from captionfleet_operator.planner.eviction import evict, make_room, yielding_proof
from captionfleet_operator.planner.goals import Goal
from captionfleet_operator.planner.rooms import Books, Room
from captionfleet_operator.planner.seen import ModelSeen
from captionfleet_operator.planner.waits import does_not_fit, turn_to_load, wait_for_leavers
from captionfleet_operator.planner.world import World


@dataclass(frozen=True)
class NotYet:
    """Why a model that a person asked for is not on its way."""

    sentence: str
    refused: bool = False
    """It cannot be done as things stand."""


def serve_overrides(
    world: World, books: Books, wanted: Mapping[str, Goal]
) -> Mapping[tuple[str, str], NotYet]:
    """Keep what was asked for where it fits. Returns (worker, model) -> why it has to wait."""
    waits = {}
    for room, name in _missing(world, books):
        if wait := _serve(world, books, wanted, room, world.models[name]):
            waits[room.id, name] = wait
    return waits


def _missing(world: World, books: Books) -> Iterator[tuple[Room, str]]:
    """What was asked for first comes first."""
    for room in books.rooms:
        for name in world.overrides.get(room.id, ()):
            if name in room.asked and name not in room.keeping:
                yield room, name


def _serve(
    world: World, books: Books, wanted: Mapping[str, Goal], room: Room, model: ModelSeen
) -> NotYet | None:
    if room.fits(model):
        return _load(world, books, wanted, room, model)
    need = room.need(model)
    if need > room.domain.usable:
        return NotYet(
            f"it cannot fit: it needs {gigabytes(need)}, and {room.id} has "
            f"{gigabytes(room.domain.usable)} for models in all",
            refused=True,
        )
    if room.fits_later(model) or make_room(world, model, [room], books, wanted, asked=True):
        room.promise(model)
        for other in books.rooms:
            if other.domain is room.domain:
                other.gone |= other.leaving
        return NotYet(wait_for_leavers(books, room))
    why = does_not_fit(model, [room]).sentence
    return NotYet(f"{why}; what is loaded there is at work, too young, or asked for", refused=True)


def _load(
    world: World, books: Books, wanted: Mapping[str, Goal], room: Room, model: ModelSeen
) -> NotYet | None:
    if model.name not in room.leaving:
        if proof := yielding_proof([room], model, wanted):
            evict(world, proof, model, books)
        elif not room.may_load:
            room.promise(model)
            return NotYet(turn_to_load(room).sentence)
    room.keep(model)
    return None
