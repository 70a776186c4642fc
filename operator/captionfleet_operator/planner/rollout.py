"""How a changed spec reaches the copies that serve: beside them, in their place, or not yet.

One worker goes first until the new spec is proven there. Where memory has no room for two copies
the old one is unloaded first, on one worker at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from captionfleet.messages import Change, Copy, CopyState
from captionfleet.resources.model import RolloutStrategy
from captionfleet.sizes import gigabytes
from captionfleet_operator.planner.eviction import free_bytes
from captionfleet_operator.planner.goals import Goal
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.rooms import Books, Room, on_its_way
from captionfleet_operator.planner.seen import ModelSeen, serves
from captionfleet_operator.planner.waits import turn_to_load, wait_for_leavers
from captionfleet_operator.planner.world import World


@dataclass(frozen=True)
class Step:
    """What becomes of one old copy that serves, and why, as a sentence."""

    change: Change
    sentence: str = ""


Steps = Mapping[tuple[str, str], Step]
"""(worker, model) -> step, for old copies that serve."""


def roll_out(world: World, memory: Memory, books: Books, wanted: Mapping[str, Goal]) -> Steps:
    steps: dict[tuple[str, str], Step] = {}
    for name, holders in sorted(books.holders.items()):
        model = world.models[name]
        if old := [room for room in holders if _is_old(model, room.copy(name))]:
            decided = _Rollout(world, memory, books, wanted, model, holders).steps(old)
            steps |= {(room.id, name): step for room, step in zip(old, decided, strict=True)}
    return steps


def _is_old(model: ModelSeen, copy: Copy | None) -> bool:
    return copy is not None and copy.fingerprint != model.fingerprint and serves(copy)


@dataclass
class _Rollout:
    """One model's way from an old spec to the present one, as far as this turn takes it."""

    world: World
    memory: Memory
    books: Books
    wanted: Mapping[str, Goal]
    model: ModelSeen
    holders: Sequence[Room]

    def steps(self, old: Sequence[Room]) -> list[Step]:
        if self.model.spec.rollout.strategy == RolloutStrategy.RECREATE:
            sentence = "spec.rollout.strategy is Recreate: the old copy is unloaded first"
            return [Step(Change.REPLACE, sentence)] * len(old)
        first = self._first()
        decided = []
        for room in old:
            if self._successor(room):
                step = Step(Change.BESIDE)  # begun is begun, also after a failure
            elif first and not self._is_proven:
                step = Step(Change.HOLD, f"{room.id} follows once the change is proven on {first}")
            else:
                step = self._begin(room)
                first = first or (room.id if step.change != Change.HOLD else "")
            decided.append(step)
        return decided

    @property
    def _is_proven(self) -> bool:
        return self.memory.proven.get(self.model.name) == self.model.fingerprint

    def _first(self) -> str:
        """A worker that has tried, or tries, the present spec."""
        return next((room.id for room in self.holders if self._tries(room)), "")

    def _tries(self, room: Room) -> bool:
        copy = room.copy(self.model.name)
        return not _is_old(self.model, copy) or self._successor(room) is not None

    def _successor(self, room: Room) -> Copy | None:
        copy = room.copy(self.model.name)
        beside = copy.beside if copy else None
        return beside if beside and beside.fingerprint == self.model.fingerprint else None

    def _begin(self, room: Room) -> Step:
        copy = room.copy(self.model.name)
        assert copy
        if not room.may_load:
            return Step(Change.HOLD, turn_to_load(room).sentence)
        need = room.successor_need(self.model, copy)
        if need <= room.domain.free:
            room.load_beside(need)
            return Step(Change.BESIDE)
        if need <= room.domain.free_later or self._make_room(room, need):
            return Step(Change.HOLD, wait_for_leavers(self.books, room))
        if busy := self._replaced():
            return Step(Change.HOLD, f"{room.id} follows once {busy} serves again")
        return self._in_its_place(room, need)

    def _in_its_place(self, room: Room, need: int) -> Step:
        """The old copy goes first, if there is room for the new one then."""
        more = need - room.need(self.model)
        if more > room.domain.free:
            if more <= room.domain.free_later or self._make_room(room, more):
                return Step(Change.HOLD, wait_for_leavers(self.books, room))
            sentence = (
                f"the changed one does not fit on {room.id}: it needs {gigabytes(need)}, "
                f"{gigabytes(room.domain.free + room.need(self.model))} is free without the old "
                "one, which goes on"
            )
            return Step(Change.HOLD, sentence)
        sentence = (
            f"no room for two copies on {room.id}: another one needs {gigabytes(need)}, "
            f"{gigabytes(room.domain.free)} is free; the old copy is unloaded first"
        )
        room.loads += 1
        room.domain.taken += max(0, more)
        return Step(Change.REPLACE, sentence)

    def _make_room(self, room: Room, need: int) -> bool:
        return free_bytes(self.world, self.model, need, room, self.books, self.wanted)

    def _replaced(self) -> str:
        """A worker where the old copy is gone and the new one does not serve yet."""
        for room in self.holders:
            copy = room.copy(self.model.name)
            if copy is None or on_its_way(copy) or copy.state == CopyState.UNLOADING:
                return room.id
        return ""
