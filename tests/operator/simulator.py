"""A fleet in memory: workers that obey assignments, copies that load, work and fail, on one clock.

It plays everything around the planner, so that the planner can be run through hours in seconds.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.operator.fleets import START

from captionfleet.messages import Copy, CopyState, Heartbeat, ModelDemand, Wanted
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
    reason: str | None = None


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
    away_until: float = START
    """The broker is out of the operator's reach until then."""
    begun: Counter[str] = field(default_factory=Counter)
    """Model -> how often a copy of it began to load."""

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
                if copy.state != CopyState.FAILED:
                    taken[worker.host] = taken.get(worker.host, 0) + copy.bytes
        return taken

    def _own(self, pool: str) -> Iterator[OwnWorker]:
        for worker in self.workers.values():
            if worker.own and worker.pool == pool:
                draining = worker.draining_since is not None
                yield OwnWorker(worker.id, self.now - worker.begun, draining)

    def _speaks(self, worker: SimWorker) -> bool:
        return self.now - worker.begun >= self.start_seconds

    def _heard(self, worker: SimWorker) -> WorkerSeen:
        measured = [c.bytes for c in worker.copies.values() if c.state == CopyState.READY]
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
            model=name, state=copy.state, fingerprint=self.models[name].fingerprint,
            state_seconds=self.now - copy.since, reason=copy.reason,
            retriable=copy.reason != "MissingWeights",
            retry_in_seconds=30.0 if copy.reason else None,
            memory_bytes=copy.bytes if ready else None,
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

    def _move_on(self, worker: SimWorker, name: str, copy: SimCopy, wanted: set[str]) -> None:
        nature, age = self.natures[name], self.now - copy.since
        if copy.state == CopyState.UNLOADING:
            del worker.copies[name]
        elif name not in wanted:
            if copy.state == CopyState.FAILED:
                del worker.copies[name]
            else:
                self._set(worker, name, CopyState.UNLOADING)
        elif copy.state == CopyState.LOADING and age >= nature.load_seconds:
            worker.cached.add(name)
            if worker.id in nature.fails_on:
                self._set(worker, name, CopyState.FAILED, nature.reason)
            else:
                self._set(worker, name, CopyState.READY)
        elif copy.state == CopyState.FAILED and age >= 30:
            self._set(worker, name, CopyState.LOADING)

    def _set(
        self, worker: SimWorker, name: str, state: CopyState, reason: str | None = None
    ) -> None:
        size = self.natures[name].bytes
        self.begun[name] += state == CopyState.LOADING
        worker.copies[name] = SimCopy(state, self.now, self.now, size, reason)

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

    def _start(self, pool: str) -> None:
        number = next(n for n in range(1, 1000) if f"{pool}-{n}" not in self.workers)
        id_ = f"{pool}-{number}"
        host = "here" if self.pools[pool].shares_memory else id_
        self.workers[id_] = SimWorker(id_, pool, host, self.memory_per_worker, self.now)
