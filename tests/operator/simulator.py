"""A fleet in memory: workers that obey assignments, copies that load, work and fail, on one clock.

It plays everything around the planner, so that the planner can be run through hours in seconds.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.operator.fleets import START

from captionfleet.messages import Change, Copy, CopyState, Heartbeat, ModelDemand, Wanted
from captionfleet_operator.planner import (
    Memory,
    ModelSeen,
    OwnWorker,
    Plan,
    PoolSeen,
    WorkerSeen,
    World,
    plan,
)

STEP = 2.0
_LOADING = (CopyState.DOWNLOADING, CopyState.LOADING)


@dataclass
class SimCopy:
    state: CopyState
    since: float
    worked_at: float
    bytes: int
    fingerprint: str
    reason: str | None = None
    beside: "SimCopy | None" = None
    """Its successor on the way, or what it took over from and that still leaves."""


@dataclass
class SimWorker:
    id: str
    pool: str
    host: str
    memory: int
    begun: float
    own: bool = True
    incarnation: int = 0
    draining_since: float | None = None
    wanted: dict[str, Wanted] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    made_of: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Model -> fingerprint and bytes of the spec it was told."""
    copies: dict[str, SimCopy] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Nature:
    """What is true of a model, whatever its manifest says."""

    bytes: int
    load_seconds: float
    rate: float
    fails_on: frozenset[str] = frozenset()
    """Workers on which it cannot be loaded."""
    reason: str = "OutOfMemory"
    fetch_seconds: float = 0.0
    """Before it loads where its files are not."""


@dataclass
class Simulation:
    models: dict[str, ModelSeen]
    natures: dict[str, Nature]
    pools: dict[str, PoolSeen]
    memory_per_worker: int
    start_seconds: float = 4.0
    now: float = START
    pending: dict[str, float] = field(default_factory=dict)
    workers: dict[str, SimWorker] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    decided: Plan | None = None
    frozen_demand: bool = False
    settled_at: float = START
    lives: int = 0
    """How many workers crashed: a process that comes back is another one."""
    away_until: float = START
    """The broker is out of the operator's reach until then."""
    begun: Counter[str] = field(default_factory=Counter)
    """Model -> how often a copy of it began to load."""
    overrides: dict[tuple[str, str], tuple[int, Wanted]] = field(default_factory=dict)
    """(worker, model) -> the worker's life, and what a person asked of it."""

    def step(self) -> tuple[World, Memory, Plan]:
        """Two seconds pass, then the operator has a turn. Returns what it saw and decided."""
        self.now += STEP
        for worker in self.workers.values():
            self._obey(worker)
        self._work()
        self._end_drained()
        world, before = self.world(), self.memory
        self.decided, self.memory = plan(world, before)
        self._act(self.decided)
        return world, before, self.decided

    def crash(self, worker: str) -> None:
        """The process ends; the local adapter starts it again because the plan wants it."""
        self.workers.pop(worker, None)
        self.lives += 1

    def ask(self, worker: str, model: str, state: Wanted | None) -> None:
        """A person's word on a worker that is there; None takes it back."""
        self.overrides.pop((worker, model), None)
        if state and worker in self.workers:
            self.overrides[worker, model] = self.workers[worker].incarnation, state

    def change(self, model: str, *, bytes: int) -> None:
        """A person changes the spec; the new one needs this much memory."""
        copies = [w.copies[model] for w in self.workers.values() if model in w.copies]
        if any(c.state in _LOADING or c.beside for c in copies):
            return  # what an unfinished load takes, nobody measures
        seen = self.models[model]
        number = int(seen.manifest.spec.generation.max_new_tokens or 64) + 1
        generation = seen.manifest.spec.generation.model_copy(update={"max_new_tokens": number})
        facts = {"memory": str(bytes)}
        requirements = seen.manifest.spec.requirements.model_copy(update=facts)
        spec = seen.manifest.spec.model_copy(
            update={"generation": generation, "requirements": requirements}
        )
        manifest = seen.manifest.model_copy(update={"spec": spec})
        self.models[model] = replace(seen, manifest=manifest, fingerprint=spec.fingerprint())
        self.natures[model] = replace(self.natures[model], bytes=bytes)

    def restart_operator(self) -> None:
        """It forgets all but what stands in statuses, and listens anew."""
        for name, status in self.memory.model_statuses.items():
            seen = self.models[name]
            manifest = seen.manifest.model_copy(update={"status": status})
            self.models[name] = replace(seen, manifest=manifest)
        for name, pool_status in self.memory.pool_statuses.items():
            pool = self.pools[name]
            manifest_ = pool.manifest.model_copy(update={"status": pool_status})
            self.pools[name] = replace(pool, manifest=manifest_)
        self.memory = Memory()
        self.settled_at = max(self.now, self.away_until) + 3 * STEP

    def lose_broker(self, steps: int) -> None:
        self.away_until = self.now + steps * STEP
        self.settled_at = self.away_until + 3 * STEP

    def world(self) -> World:
        heard = {w.id: self._heard(w) for w in self.workers.values() if self._speaks(w)}
        return World(
            now=self.now,
            fleet="simulated",
            settled=self.now >= self.settled_at,
            broker_trouble="the broker is away" if self.now < self.away_until else "",
            models=dict(self.models),
            pools={
                name: replace(pool, own=tuple(self._own(name))) for name, pool in self.pools.items()
            },
            workers=heard,
            overrides=self._asked(heard),
            demand={
                name: ModelDemand(pending=int(tasks + 0.999))
                for name, tasks in self.pending.items()
                if tasks > 0
            },
        )

    def loaded_bytes(self) -> dict[str, int]:
        """Host -> bytes that copies take there."""
        taken: dict[str, int] = {}
        for worker in self.workers.values():
            for copy in worker.copies.values():
                for each in (copy, copy.beside):
                    if each and each.state != CopyState.FAILED:
                        taken[worker.host] = taken.get(worker.host, 0) + each.bytes
        return taken

    def _asked(self, heard: Mapping[str, WorkerSeen]) -> dict[str, dict[str, Wanted]]:
        asked: dict[str, dict[str, Wanted]] = {}
        for (worker, model), (life, state) in self.overrides.items():
            if worker in heard and heard[worker].heartbeat.incarnation == str(life):
                asked.setdefault(worker, {})[model] = state
        return asked

    def _own(self, pool: str) -> Iterator[OwnWorker]:
        for worker in self.workers.values():
            if worker.own and worker.pool == pool:
                draining = worker.draining_since is not None
                yield OwnWorker(worker.id, self.now - worker.begun, draining)

    def _speaks(self, worker: SimWorker) -> bool:
        return self.now - worker.begun >= self.start_seconds

    def _heard(self, worker: SimWorker) -> WorkerSeen:
        measured = [
            each.bytes
            for copy in worker.copies.values()
            for each in (copy, copy.beside)
            if each and each.state in (CopyState.READY, CopyState.UNLOADING)
        ]
        beat = Heartbeat(
            worker=worker.id, pool=worker.pool, incarnation=str(worker.incarnation),
            host=worker.host, pid=1, device="CPU", memory_total=worker.memory,
            memory_used=sum(measured), sent_at=self.now, cached=sorted(worker.cached),
            copies=[self._told(name, copy) for name, copy in sorted(worker.copies.items())],
        )  # fmt: skip
        return WorkerSeen(beat, own=worker.own, draining=worker.draining_since is not None)

    def _told(self, name: str, copy: SimCopy) -> Copy:
        ready = copy.state == CopyState.READY
        nature = self.natures[name]
        return Copy(
            model=name, state=copy.state, fingerprint=copy.fingerprint,
            revision=copy.fingerprint if ready else None,
            beside=self._told(name, copy.beside) if copy.beside else None,
            state_seconds=self.now - copy.since, reason=copy.reason,
            retriable=copy.reason != "MissingWeights",
            retry_in_seconds=30.0 if copy.reason else None,
            memory_bytes=copy.bytes if ready or copy.state == CopyState.UNLOADING else None,
            load_seconds=nature.load_seconds if ready else None,
            rates={1: nature.rate} if ready else {}, consuming=ready,
            idle_seconds=self.now - copy.worked_at if ready else 0.0,
        )  # fmt: skip

    def _obey(self, worker: SimWorker) -> None:
        if not self._speaks(worker) or worker.draining_since is not None:
            return
        wanted = {name for name, state in worker.wanted.items() if state == Wanted.LOADED}
        for name, copy in list(worker.copies.items()):
            self._move_on(worker, name, copy, wanted)
        for name in wanted - worker.copies.keys():
            self._set(worker, name, CopyState.LOADING)
        for name in worker.wanted:
            if worker.wanted[name] == Wanted.CACHED and worker.cached.isdisjoint({name}):
                if (worker.id, name) in self.overrides:
                    worker.cached.add(name)
            elif worker.wanted[name] == Wanted.ABSENT and name not in worker.copies:
                worker.cached.discard(name)

    def _move_on(self, worker: SimWorker, name: str, copy: SimCopy, wanted: set[str]) -> None:
        nature, age = self.natures[name], self.now - copy.since
        if copy.beside and self._move_beside(worker, name, copy, wanted):
            return
        if copy.state == CopyState.UNLOADING:
            del worker.copies[name]
        elif name not in wanted:
            if copy.state == CopyState.FAILED:
                del worker.copies[name]
            else:
                self._set(worker, name, CopyState.UNLOADING)
        elif copy.fingerprint != worker.made_of[name][0]:
            self._renew(worker, name, copy)
        elif copy.state == CopyState.DOWNLOADING:
            self._fetch(worker, name, copy)
        elif copy.state == CopyState.LOADING and age >= nature.load_seconds:
            worker.cached.add(name)
            if worker.id in nature.fails_on:
                self._set(worker, name, CopyState.FAILED, nature.reason)
            else:
                self._set(worker, name, CopyState.READY)
        elif copy.state == CopyState.FAILED and age >= 30:
            self._set(worker, name, CopyState.LOADING)

    def _fetch(self, worker: SimWorker, name: str, copy: SimCopy) -> None:
        if self.now - copy.since >= self.natures[name].fetch_seconds:
            worker.cached.add(name)
            copy.state, copy.since = CopyState.LOADING, self.now

    def _renew(self, worker: SimWorker, name: str, copy: SimCopy) -> None:
        """What a worker does about a copy that is made from an earlier spec."""
        change = worker.changes.get(name, Change.REPLACE)
        if copy.state == CopyState.FAILED:
            del worker.copies[name]
        elif copy.state != CopyState.READY or change == Change.REPLACE:
            self._set(worker, name, CopyState.UNLOADING)
        elif change == Change.BESIDE:
            copy.beside = self._fresh(worker, name, CopyState.LOADING)

    def _move_beside(self, worker: SimWorker, name: str, copy: SimCopy, wanted: set[str]) -> bool:
        """True if nothing else is to be done about the two."""
        other = copy.beside
        assert other
        age = self.now - other.since
        if other.state == CopyState.UNLOADING:
            copy.beside = None
            return True
        if name not in wanted:
            copy.beside = None
            return False
        if other.fingerprint != worker.made_of[name][0]:
            copy.beside = None
            return True
        if other.state == CopyState.DOWNLOADING:
            self._fetch(worker, name, other)
        elif other.state == CopyState.LOADING and age >= self.natures[name].load_seconds:
            if worker.id in self.natures[name].fails_on:
                other.state, other.since = CopyState.FAILED, self.now
                other.reason = self.natures[name].reason
            else:
                left = replace(copy, state=CopyState.UNLOADING, beside=None)
                other.state, other.since, other.worked_at = CopyState.READY, self.now, self.now
                other.beside = left
                worker.copies[name] = other
        elif other.state == CopyState.FAILED and age >= 30:
            copy.beside = self._fresh(worker, name, CopyState.LOADING)
        return True

    def _fresh(self, worker: SimWorker, name: str, state: CopyState) -> SimCopy:
        self.begun[name] += 1
        if name not in worker.cached and self.natures[name].fetch_seconds:
            state = CopyState.DOWNLOADING
        fingerprint, size = worker.made_of[name]
        return SimCopy(state, self.now, self.now, size, fingerprint)

    def _set(
        self, worker: SimWorker, name: str, state: CopyState, reason: str | None = None
    ) -> None:
        before = worker.copies.get(name)
        if state == CopyState.LOADING:
            worker.copies[name] = self._fresh(worker, name, state)
        elif before:
            worker.copies[name] = replace(
                before, state=state, since=self.now, worked_at=self.now, reason=reason, beside=None
            )

    def _work(self) -> None:
        for name in list(self.pending):
            for worker in self.workers.values():
                copy = worker.copies.get(name)
                ready = copy is not None and copy.state == CopyState.READY
                if copy is None or not ready or self.pending[name] <= 0:
                    continue
                copy.worked_at = self.now
                if not self.frozen_demand:
                    self.pending[name] -= self.natures[name].rate * STEP
        self.pending = {name: tasks for name, tasks in self.pending.items() if tasks > 0}

    def _end_drained(self) -> None:
        for worker in list(self.workers.values()):
            if worker.draining_since is not None and self.now - worker.draining_since > 3 * STEP:
                del self.workers[worker.id]

    def _act(self, decided: Plan) -> None:
        for name, pool in decided.pools.items():
            for worker in pool.drain:
                self.workers[worker].draining_since = self.now
            staying = sum(not own.draining for own in self._own(name))
            for _ in range(pool.workers - staying):
                self._start(name)
        for worker, wanted in decided.assignments.items():
            self.workers[worker].wanted = dict(wanted)
            self.workers[worker].made_of = {
                name: (self.models[name].fingerprint, self.natures[name].bytes) for name in wanted
            }
            self.workers[worker].changes = {
                name: change for (of, name), change in decided.changes.items() if of == worker
            }

    def _start(self, pool: str) -> None:
        number = next(n for n in range(1, 1000) if f"{pool}-{n}" not in self.workers)
        id_ = f"{pool}-{number}"
        host = "here" if self.pools[pool].shares_memory else id_
        self.workers[id_] = SimWorker(
            id_, pool, host, self.memory_per_worker, self.now, incarnation=self.lives
        )
