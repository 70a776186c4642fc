"""Which copy goes to which worker, who must make room for it, and why a model waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from captionfleet.resources.pool import AutoscalingMode
from captionfleet_operator.planner.eviction import evict, make_room, yielding_proof
from captionfleet_operator.planner.fitting import kept_away, takes_but_for_code, worker_takes
from captionfleet_operator.planner.goals import Goal, goals, waiting_since
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.overriding import NotYet, serve_overrides
from captionfleet_operator.planner.own_code import code_missing, has_code, was_missing
from captionfleet_operator.planner.proof import PROOF_PATIENCE_SECONDS
from captionfleet_operator.planner.retention import let_go, move_failed
from captionfleet_operator.planner.rollout import Steps, roll_out
from captionfleet_operator.planner.rooms import Books, Room, open_books
from captionfleet_operator.planner.seen import ModelSeen, PoolSeen
from captionfleet_operator.planner.waits import (
    Lack,
    Wait,
    does_not_fit,
    kept_away_from,
    turn_to_load,
    wait_for_leavers,
)
from captionfleet_operator.planner.world import World

_PROOF = 1_000_000
"""Tier of proofs: after every copy that anybody waits for."""


@dataclass(frozen=True)
class Placement:
    loaded: Mapping[str, frozenset[str]]
    """Worker -> models it shall load; open workers only."""
    goals: Mapping[str, Goal]
    waits: Mapping[str, Wait]
    avoided: Mapping[tuple[str, str], float]
    waiting_since: Mapping[str, float]
    overrides: Mapping[tuple[str, str], NotYet]
    """(worker, model) -> why what a person asked to have loaded there is not on its way."""
    steps: Steps
    """(worker, model) -> what becomes of an old copy that serves."""
    books: Books = field(repr=False)

    def count(self, model: str) -> int:
        return len(self.books.holding(model))

    @cached_property
    def waits_for(self) -> Mapping[str, Sequence[str]]:
        """Pool -> models that wait for it, by name."""
        found: dict[str, list[str]] = {}
        for name, wait in sorted(self.waits.items()):
            found.setdefault(wait.pool, []).append(name)
        return found

    @cached_property
    def proofs(self) -> Mapping[str, Sequence[str]]:
        """Pool -> models for whose proof it has a worker, or should have one, by name."""
        found: dict[str, list[str]] = {}
        for name, goal in sorted(self.goals.items()):
            if goal.proof and not goal.failed and (pool := self._pool_of(name)):
                found.setdefault(pool, []).append(name)
        return found

    def _pool_of(self, model: str) -> str | None:
        if holders := self.books.holding(model):
            return holders[0].pool.name
        wait = self.waits.get(model)
        # A worker that lacks the code is none to be kept for the proof.
        return wait.pool if wait and wait.lack not in (Lack.CODE, Lack.KEPT_AWAY) else None


def place(world: World, memory: Memory) -> Placement:
    """Keep what may stay, and change it; then serve overrides, pins, first copies, more, proofs."""
    wanted = goals(world, memory)
    books = open_books(world, memory)
    let_go(world, books, wanted)
    overrides = serve_overrides(world, books, wanted)
    steps = roll_out(world, memory, books, wanted)
    placing = _Placing(world, memory, books, wanted, move_failed(world, memory, books))
    for name, tier in _order(world, wanted, books):
        placing.serve(world.models[name], tier)
    return Placement(
        loaded={room.id: frozenset(room.keeping) for room in books.rooms},
        goals=wanted,
        waits=placing.waits,
        avoided=placing.avoided,
        waiting_since=waiting_since(world, memory, wanted),
        overrides=overrides,
        steps=steps,
        books=books,
    )


def _order(world: World, wanted: Mapping[str, Goal], books: Books) -> list[tuple[str, int]]:
    """(model, tier) once per missing copy: pins, then first copies, then more, then proofs."""
    needs: list[tuple[int, int, float, str]] = []
    for name, goal in wanted.items():
        if not goal.copies:
            continue
        model = world.models[name]
        for number in range(len(books.holding(name)), goal.copies):
            tier = 0 if number < model.floor else 1 if number == 0 else 2 + number
            place = _PROOF if goal.proof else tier
            needs.append((place, -model.residency.priority, goal.waiting_since, name))
    return [(name, tier) for tier, _, _, name in sorted(needs)]


@dataclass
class _Placing:
    """Gives models their missing copies, one after the other."""

    world: World
    memory: Memory
    books: Books
    wanted: Mapping[str, Goal]
    avoided: Mapping[tuple[str, str], float]
    waits: dict[str, Wait] = field(default_factory=dict)
    hopeless: dict[frozenset[str], int] = field(default_factory=dict)
    """Pools -> least bytes for which a proof found no place in them this turn."""
    nearest: dict[frozenset[str], Wait] = field(default_factory=dict)
    """Pools without a worker -> the wait for one of them."""

    def serve(self, model: ModelSeen, tier: int) -> None:
        """Give the model one more copy, or hold a place for it and note what it waits for."""
        proving = tier == _PROOF
        wait = self._lacks_code(model, proving=proving) or (
            self._prove(model) if proving else self._load(model, evicting=tier < 2)
        )
        if wait:
            self.waits.setdefault(model.name, wait)

    def _lacks_code(self, model: ModelSeen, *, proving: bool) -> Wait | None:
        """Of the workers there are, none has the code. Without workers, one is brought to see."""
        if model.spec.custom is None:
            return None
        could = [r for r in self.books.rooms if takes_but_for_code(self.world, model, r.worker)]
        if any(has_code(model, room.worker) for room in could):
            return None
        if could or (proving and was_missing(self.memory, model)):
            sentence = code_missing(model, [room.id for room in could])
            pool = could[0].pool.name if could else min(self.world.takers[model.name].names)
            return Wait(Lack.CODE, sentence, pool)
        return None

    def _load(self, model: ModelSeen, *, evicting: bool) -> Wait | None:
        rooms = self._by_cost(self.books.open_to(self.world, model), model)
        now = [room for room in rooms if room.fits(model)]
        free = [room for room in now if room.may_load]
        if at_once := next((room for room in free if not room.queues(model)), None):
            at_once.keep(model)
            return None
        if evicting and (proof := yielding_proof(now, model, self.wanted)):
            evict(self.world, proof, model, self.books)
            proof[0].keep(model)
            return None
        if free:
            free[0].keep(model)
            return None
        if not evicting:
            if now:
                now[0].promise(model)
            return None
        if not rooms:
            return self._kept_away(model) or self._no_worker(model)
        if now:
            now[0].promise(model)
            return turn_to_load(now[0])
        return self._make_room(model, rooms)

    def _prove(self, model: ModelSeen) -> Wait | None:
        """Like any other, but only where a load may begin now, and not looking in vain twice."""
        pools = self.world.takers[model.name].names & self.open_pools
        if not pools:
            return self._no_worker(model)
        idle = [
            room
            for room in (self.idle if self._is_patient(model) else self.quiet)
            if worker_takes(self.world, model, room.worker) and not room.queues(model)
        ]
        if not idle and (away := self._kept_away_everywhere(model)):
            return away
        if not idle:
            pool = min(pools)
            return Wait(Lack.LOAD_SLOT, f"other models come first in pool {pool}", pool)
        idle = self._by_cost(idle, model)
        room = next((room for room in idle if room.fits(model)), None)
        if room:
            room.keep(model)
        wait = None if room else self._make_room_once(model, idle)
        self.idle = [room for room in self.idle if _is_idle(room)]
        self.quiet = [room for room in self.quiet if _is_idle(room)]
        return wait

    def _is_patient(self, model: ModelSeen) -> bool:
        waited = self.world.now - self.wanted[model.name].waiting_since
        return waited >= PROOF_PATIENCE_SECONDS

    @cached_property
    def open_pools(self) -> frozenset[str]:
        return frozenset(room.pool.name for room in self.books.rooms)

    @cached_property
    def idle(self) -> list[Room]:
        """Rooms where a proof may begin to load."""
        return [room for room in self.books.rooms if _is_idle(room)]

    @cached_property
    def quiet(self) -> list[Room]:
        """Those of them where it disturbs nobody's pictures."""
        return [
            room
            for room in self.idle
            if not any(self.wanted[name].demanded for name in room.keeping)
        ]

    def _make_room_once(self, model: ModelSeen, rooms: Sequence[Room]) -> Wait:
        """A proof that needs no less than one that found no place finds none either."""
        pools, need = self.world.takers[model.name].names, rooms[0].need(model)
        if pools in self.hopeless and need >= self.hopeless[pools]:
            return does_not_fit(model, rooms)
        wait = self._make_room(model, rooms)
        if wait.lack != Lack.LEAVERS:
            self.hopeless[pools] = need
        return wait

    def _make_room(self, model: ModelSeen, rooms: Sequence[Room]) -> Wait:
        later = [room for room in rooms if room.fits_later(model)]
        found = later[0] if later else None
        room = found or make_room(self.world, model, rooms, self.books, self.wanted)
        if room is None:
            return does_not_fit(model, rooms)
        room.promise(model)
        return Wait(Lack.LEAVERS, wait_for_leavers(self.books, room), room.pool.name)

    def _by_cost(self, rooms: Sequence[Room], model: ModelSeen) -> list[Room]:
        """The cheapest room comes first."""
        return sorted(rooms, key=lambda room: self._cost(room, model.name))

    def _cost(self, room: Room, model: str) -> tuple[bool, bool, bool, int, int, str]:
        busy = sum(self.wanted[other].demanded for other in room.keeping)
        return (
            (model, room.id) in self.avoided,
            model not in room.leaving,
            model not in room.worker.heartbeat.cached,
            busy,
            -room.domain.free,
            room.id,
        )

    def _kept_away_everywhere(self, model: ModelSeen) -> Wait | None:
        """Every worker that could take it was asked not to."""
        return None if self.books.open_to(self.world, model) else self._kept_away(model)

    def _kept_away(self, model: ModelSeen) -> Wait | None:
        """It has no worker because a person said so. Another one would be free to take it."""
        away = [room for room in self.books.rooms if kept_away(self.world, model, room.worker)]
        return kept_away_from(model, away) if away else None

    def _no_worker(self, model: ModelSeen) -> Wait | None:
        """The pool that is likeliest to have a worker soon. A failed proof brings none."""
        if self.wanted[model.name].failed:
            return None
        taking = self.world.takers[model.name]
        if taking.names not in self.nearest:
            pool = min(taking.pools, key=self._distance).name
            sentence = f"waiting for another worker in pool {pool}"
            self.nearest[taking.names] = Wait(Lack.WORKER, sentence, pool)
        return self.nearest[taking.names]

    def _distance(self, pool: PoolSeen) -> tuple[bool, bool, int, str]:
        holding = any(worker.open for worker in self.world.workers_of(pool.name))
        return not holding, _is_fixed_at_zero(pool), -len(pool.own), pool.name


def _is_idle(room: Room) -> bool:
    """Nobody else loads or awaits a place there."""
    return room.may_load and not room.awaited


def _is_fixed_at_zero(pool: PoolSeen) -> bool:
    return pool.spec.autoscaling.mode != AutoscalingMode.BUILTIN and not pool.spec.replicas
