"""The books of one turn of placement: who is on which worker, and what room is left.

A Room is one worker; rooms that share memory share a Domain.
"""

from dataclasses import dataclass, field

from captionfleet.messages import Copy, CopyState
from captionfleet_operator.planner.fitting import GUESSED_BYTES, needed_bytes
from captionfleet_operator.planner.memory import Memory
from captionfleet_operator.planner.world import ModelSeen, PoolSeen, WorkerSeen, World

_LOADING = (CopyState.DOWNLOADING, CopyState.LOADING)


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


@dataclass
class Room:
    """One open worker. `keeping` are the models it shall load, `leaving` those it shall not."""

    world: World
    memory: Memory
    worker: WorkerSeen
    pool: PoolSeen
    domain: Domain
    keeping: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    awaited: int = 0
    """Models promised a place here that cannot start loading yet."""

    @property
    def id(self) -> str:
        return self.worker.id

    def copy(self, model: str) -> Copy | None:
        return self.worker.copies.get(model)

    def need(self, model: ModelSeen) -> int:
        known = needed_bytes(self.world, self.memory, model, self.worker)
        # A mere guess must not bar a small machine for ever: the model may have all of it.
        return min(GUESSED_BYTES, max(self.domain.usable, 0)) if known is None else known

    def keep(self, model: ModelSeen) -> None:
        name = model.manifest.name
        if name in self.leaving:
            self.leaving.discard(name)
            self.domain.leaving -= self.need(model)
        else:
            self.domain.taken += self.need(model)
        self.keeping.add(name)

    def drop(self, model: ModelSeen) -> None:
        """Stop keeping it. What is there occupies memory until it is gone."""
        name = model.manifest.name
        self.keeping.discard(name)
        if occupies(self.copy(name)):
            self.leaving.add(name)
            self.domain.leaving += self.need(model)
        else:
            self.domain.taken -= self.need(model)

    def promise(self, model: ModelSeen) -> None:
        """Hold a place, so that nobody later in order takes it."""
        self.awaited += 1
        self.domain.taken += self.need(model)

    def fits(self, model: ModelSeen) -> bool:
        """There is room now. A copy that is still here only has to be left alone."""
        if model.manifest.name in self.leaving:
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
        """Models that load here now, or were told to and did not begin."""
        return sorted(
            name
            for name in self.keeping
            if (copy := self.copy(name)) is None or copy.state in _LOADING
        )

    @property
    def may_load(self) -> bool:
        return len(self.loading) < self.pool.spec.hosting.max_concurrent_loads


def occupies(copy: Copy | None) -> bool:
    return copy is not None and copy.state != CopyState.FAILED


def open_rooms(world: World, memory: Memory) -> list[Room]:
    """A room per open worker, keeping what it was told to keep; unknown workers are adopted."""
    domains = _domains(world)
    rooms = []
    for _, worker in sorted(world.workers.items()):
        pool = world.pools.get(worker.pool)
        domain = domains[worker.memory_domain]
        if pool is None or pool.spec.suspend or not worker.open:
            _occupy(world, memory, worker, domain)
            continue
        room = Room(world, memory, worker, pool, domain)
        kept = told(memory, worker) & world.models.keys()
        for name in sorted(kept | world.models.keys() & worker.copies.keys()):
            model = world.models[name]
            if name in kept or occupies(worker.copies.get(name)):
                room.keep(model)
            if name in room.keeping and name not in kept:
                room.drop(model)
        rooms.append(room)
    for worker in world.workers.values():
        _occupy_strangers(world, worker, domains[worker.memory_domain])
    return rooms


def told(memory: Memory, worker: WorkerSeen) -> frozenset[str]:
    """Models this worker shall load by the last plan; of an unknown worker, those it has."""
    return memory.loaded.get(
        worker.id,
        frozenset(c.model for c in worker.heartbeat.copies if c.state != CopyState.UNLOADING),
    )


def _domains(world: World) -> dict[str, Domain]:
    domains: dict[str, Domain] = {}
    for name in {worker.memory_domain for worker in world.workers.values()}:
        workers = [w for w in world.workers.values() if w.memory_domain == name]
        headroom = max(_headroom(world, worker) for worker in workers)
        total = min(worker.heartbeat.memory_total for worker in workers)
        copies = sum(copy.memory_bytes or 0 for w in workers for copy in w.heartbeat.copies)
        others = max(0, max(w.heartbeat.memory_used for w in workers) - copies)
        domains[name] = Domain(usable=total * (100 - headroom) // 100 - others)
    return domains


def _headroom(world: World, worker: WorkerSeen) -> int:
    pool = world.pools.get(worker.pool)
    return pool.spec.hosting.memory_headroom_percent if pool else 0


def _occupy(world: World, memory: Memory, worker: WorkerSeen, domain: Domain) -> None:
    """A worker that gets nothing new still takes memory for what it has."""
    for copy in worker.heartbeat.copies:
        model = world.models.get(copy.model)
        if model and occupies(copy):
            size = needed_bytes(world, memory, model, worker) or GUESSED_BYTES
            domain.taken += size
            domain.leaving += size if worker.draining else 0


def _occupy_strangers(world: World, worker: WorkerSeen, domain: Domain) -> None:
    """Copies of models that are no longer in the catalog: about to be unloaded."""
    for copy in worker.heartbeat.copies:
        if copy.model not in world.models and occupies(copy):
            size = copy.memory_bytes or GUESSED_BYTES
            domain.taken += size
            domain.leaving += size
