"""The books of one turn of placement: who is on which worker, and what room is left.

A Room is one worker; rooms that share memory share a Domain.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from captionfleet.messages import Copy, CopyState, Wanted
from captionfleet_operator.planner.fitting import (
    GUESSED_BYTES,
    could_take,
    needed_bytes,
    successor_bytes,
    worker_takes,
)
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.seen import ModelSeen, PoolSeen, WorkerSeen
from captionfleet_operator.planner.world import World

_ON_ITS_WAY = (CopyState.DOWNLOADING, CopyState.LOADING)


@dataclass
class Domain:
    """Memory in bytes that some workers share."""

    usable: int
    taken: int = 0
    leaving: int = 0
    """Part of `taken` that is about to be given back."""

    @property
    def free(self) -> int:
        return self.usable - self.taken

    @property
    def free_later(self) -> int:
        return self.free + self.leaving


@dataclass(eq=False)
class Room:
    """One open worker. `keeping` are the models it shall load, `leaving` those it shall not."""

    world: World
    memory: Memory
    worker: WorkerSeen
    pool: PoolSeen
    domain: Domain
    holders: dict[str, list["Room"]] = field(repr=False)
    """Model -> rooms that keep it; one book for all rooms."""
    keeping: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    asked: frozenset[str] = frozenset()
    """Models that a person asked to have loaded here, and that could be."""
    gone: set[str] = field(default_factory=set)
    """Models that leave for what a person asked: nobody takes them back."""
    awaited: int = 0
    """Models promised a place here that cannot start loading yet."""
    loads: int = 0
    """Models kept here that load now, or were told to and did not begin. Those whose files are
    fetched do not count: the limit is for what loading takes."""
    fetches: int = 0
    """Models kept here whose files come from a hub now, or will once it has heard of them."""

    @property
    def id(self) -> str:
        return self.worker.id

    def copy(self, model: str) -> Copy | None:
        return self.worker.copies.get(model)

    def successor_need(self, model: ModelSeen, old: Copy) -> int:
        """Memory of a copy of the present spec while `old` is still there."""
        known = successor_bytes(self.world, self.memory, model, self.worker, old)
        return GUESSED_BYTES if known is None else known

    def load_beside(self, need: int) -> None:
        """Count a successor that begins to load while the old copy goes on."""
        self.domain.taken += need
        self.loads += 1

    def need(self, model: ModelSeen) -> int:
        known = needed_bytes(self.world, self.memory, model, self.worker)
        # A mere guess must not bar a small machine for ever: the model may have all of it.
        return min(GUESSED_BYTES, max(self.domain.usable, 0)) if known is None else known

    def keep(self, model: ModelSeen) -> None:
        name = model.name
        if name in self.leaving:
            self.leaving.discard(name)
            self.domain.leaving -= self.held(model)
        else:
            self.domain.taken += self.need(model)
        self.keeping.add(name)
        self.holders.setdefault(name, []).append(self)
        self.loads += self._loads(name)
        self.fetches += self._fetches(name)

    def drop(self, model: ModelSeen) -> None:
        """Stop keeping it. What is there occupies memory until it is gone."""
        name = model.name
        self.keeping.discard(name)
        self.holders[name].remove(self)
        self.loads -= self._loads(name)
        self.fetches -= self._fetches(name)
        if occupies(self.copy(name)):
            self.leaving.add(name)
            self.domain.leaving += self.held(model)
        else:
            self.domain.taken -= self.need(model)

    def _loads(self, model: str) -> int:
        copy = self.copy(model)
        return 1 if copy is None else _in_state(copy, CopyState.LOADING)

    def _fetches(self, model: str) -> int:
        copy = self.copy(model)
        return self._lacks(model) if copy is None else _in_state(copy, CopyState.DOWNLOADING)

    def _lacks(self, model: str) -> bool:
        """Its files have yet to come from a hub."""
        return self.world.models[model].fetched and model not in self.worker.heartbeat.cached

    def _beside(self, model: ModelSeen) -> int:
        """Bytes of a successor beside its copy: those of a predecessor are on their way out."""
        copy = self.copy(model.name)
        if copy is None or copy.beside is None or copy.beside.state == CopyState.UNLOADING:
            return 0
        return beside_bytes(self.world, self.memory, model, self.worker, copy)

    def held(self, model: ModelSeen) -> int:
        """Bytes that leave with it: a successor beside it included."""
        return self.need(model) + self._beside(model)

    def promise(self, model: ModelSeen) -> None:
        """Hold a place, so that nobody later in order takes it."""
        self.awaited += 1
        self.domain.taken += self.need(model)

    def fits(self, model: ModelSeen) -> bool:
        """There is room now. A copy that is still here only has to be left alone."""
        if model.name in self.leaving:
            return True
        taken = len(self.keeping) + len(self.leaving) + self.awaited
        return taken < self.slots and self.need(model) <= self.domain.free

    def fits_later(self, model: ModelSeen) -> bool:
        """There will be room once everything that shall leave has left."""
        taken = len(self.keeping) + self.awaited
        return taken < self.slots and self.need(model) <= self.domain.free_later

    @property
    def slots(self) -> int:
        return self.pool.spec.hosting.max_models

    @property
    def loading(self) -> list[str]:
        return sorted(name for name in self.keeping if self._loads(name))

    @property
    def fetching(self) -> list[str]:
        return sorted(name for name in self.keeping if self._fetches(name))

    def queues(self, model: ModelSeen) -> bool:
        """Its files would be fetched after those of others: workers do not fetch all at once."""
        return self._lacks(model.name) and self.fetches > 0

    @property
    def may_load(self) -> bool:
        return self.loads < self.pool.spec.hosting.max_concurrent_loads


@dataclass(frozen=True)
class Eviction:
    """A copy that has to go so that another model gets its place."""

    model: str
    worker: str
    winner: str


@dataclass(frozen=True)
class Books:
    """All rooms, by worker id, and who is in them."""

    rooms: list[Room]
    holders: dict[str, list[Room]]
    """Model -> rooms that keep it."""
    evictions: list[Eviction] = field(default_factory=list)

    def holding(self, model: str) -> list[Room]:
        return self.holders.get(model, [])

    def open_to(self, world: World, model: ModelSeen) -> list[Room]:
        """Rooms where it might go, and is not yet."""
        names = world.takers[model.name].names
        return [
            room
            for room in self.rooms
            if room.pool.name in names
            and model.name not in room.keeping
            and model.name not in room.gone
            and worker_takes(world, model, room.worker)
        ]


def on_its_way(copy: Copy | None) -> bool:
    """It is fetched or loads, or was told to and did not begin."""
    return copy is None or copy.state in _ON_ITS_WAY


def _in_state(copy: Copy, state: CopyState) -> int:
    return sum(each.state == state for each in copy.both)


def occupies(copy: Copy | None) -> bool:
    return copy is not None and copy.state != CopyState.FAILED


def beside_bytes(
    world: World, memory: Memory, model: ModelSeen, worker: WorkerSeen, copy: Copy
) -> int:
    """Memory of what stands beside a copy; 0 if nothing does."""
    other = copy.beside
    if other is None or not occupies(other):
        return 0
    known = other.memory_bytes or successor_bytes(world, memory, model, worker, copy)
    return known or GUESSED_BYTES


def open_books(world: World, memory: Memory) -> Books:
    """A room per open worker, keeping what it was told to keep; unknown workers are adopted."""
    domains = _domains(world)
    books = Books([], {})
    for worker in world.by_id:
        pool = world.pools.get(worker.pool)
        domain = domains[worker.memory_domain]
        if pool is None or pool.stopped or not worker.open:
            _occupy(world, memory, worker, domain)
            continue
        asked = _asked(world, worker)
        room = Room(world, memory, worker, pool, domain, books.holders, asked=asked)
        kept = {name for name in told(memory, worker) if name in world.models}
        for name in sorted(kept.union(name for name in worker.copies if name in world.models)):
            model = world.models[name]
            copy = worker.copies.get(name)
            if copy and copy.beside:
                _occupy_beside(world, memory, worker, model, copy, domain)
            if name in kept or occupies(copy):
                room.keep(model)
            if name in room.keeping and name not in kept:
                room.drop(model)
        books.rooms.append(room)
    for worker in world.by_id:
        _occupy_strangers(world, worker, domains[worker.memory_domain])
    return books


def _asked(world: World, worker: WorkerSeen) -> frozenset[str]:
    if worker.id not in world.overrides:
        return frozenset()
    return frozenset(
        name
        for name, state in world.overrides[worker.id].items()
        if state == Wanted.LOADED
        and (model := world.models.get(name))
        and not model.stopped
        and could_take(world, model, worker)
    )


def told(memory: Memory, worker: WorkerSeen) -> frozenset[str]:
    """Models this worker shall load by the last plan; of an unknown worker, those it has."""
    if worker.id in memory.loaded:
        return memory.loaded[worker.id]
    copies = worker.copies.values()
    return frozenset(copy.model for copy in copies if copy.state != CopyState.UNLOADING)


def _domains(world: World) -> dict[str, Domain]:
    sharing: dict[str, list[WorkerSeen]] = {}
    for worker in world.by_id:
        sharing.setdefault(worker.memory_domain, []).append(worker)
    return {name: _domain(world.pools, workers) for name, workers in sharing.items()}


def _domain(pools: Mapping[str, PoolSeen], workers: Iterable[WorkerSeen]) -> Domain:
    beats = [worker.heartbeat for worker in workers]
    headroom = max(_headroom(pools.get(beat.pool)) for beat in beats)
    total = min(beat.memory_total for beat in beats)
    copies = sum(
        each.memory_bytes or 0 for beat in beats for copy in beat.copies for each in copy.both
    )
    others = max(0, max(beat.memory_used for beat in beats) - copies)
    return Domain(usable=total * (100 - headroom) // 100 - others)


def _headroom(pool: PoolSeen | None) -> int:
    return pool.spec.hosting.memory_headroom_percent if pool else 0


def _occupy(world: World, memory: Memory, worker: WorkerSeen, domain: Domain) -> None:
    """A worker that gets nothing new still takes memory for what it has."""
    for copy in worker.heartbeat.copies:
        model = world.models.get(copy.model)
        if model and occupies(copy):
            size = needed_bytes(world, memory, model, worker) or GUESSED_BYTES
            domain.taken += size
            domain.leaving += size if worker.draining else 0
        if model and copy.beside:
            _occupy_beside(world, memory, worker, model, copy, domain)


def _occupy_beside(
    world: World, memory: Memory, worker: WorkerSeen, model: ModelSeen, copy: Copy, domain: Domain
) -> None:
    size = beside_bytes(world, memory, model, worker, copy)
    domain.taken += size
    if copy.beside and copy.beside.state == CopyState.UNLOADING:
        domain.leaving += size


def _occupy_strangers(world: World, worker: WorkerSeen, domain: Domain) -> None:
    """Copies of models that are no longer in the catalog: about to be unloaded."""
    for copy in worker.heartbeat.copies:
        if copy.model not in world.models and occupies(copy):
            size = copy.memory_bytes or GUESSED_BYTES
            domain.taken += size
            domain.leaving += size
