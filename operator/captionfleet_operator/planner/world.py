"""What the planner is told: everything seen at one moment, as plain data, and indexes over it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from captionfleet.messages import Copy, CopyState, Download, FilesState, ModelDemand, Wanted
from captionfleet_operator.planner.matching import Takers, takers
from captionfleet_operator.planner.seen import ModelSeen, PoolSeen, WorkerSeen


@dataclass(frozen=True)
class World:
    """One moment. `now` is in Unix seconds and never runs backwards."""

    now: float
    fleet: str
    settled: bool
    """False while the operator has not listened long enough to know what it does not hear."""
    models: Mapping[str, ModelSeen] = field(default_factory=dict)
    pools: Mapping[str, PoolSeen] = field(default_factory=dict)
    workers: Mapping[str, WorkerSeen] = field(default_factory=dict)
    orphans: Mapping[str, float] = field(default_factory=dict)
    """Worker of ours whose pool is gone from the catalog -> for how many seconds."""
    demand: Mapping[str, ModelDemand] = field(default_factory=dict)
    demand_fresh: bool = True
    """False when an api has been silent: what is not demanded may only be unknown."""
    overrides: Mapping[str, Mapping[str, Wanted]] = field(default_factory=dict)
    """Worker -> model -> what a person asked of it there, oldest first."""
    kubernetes: bool = False
    """Workers are pods, which can mount claims; else they are processes of this machine."""
    broker_trouble: str = ""
    """Why the broker has been out of reach for a while; empty while it is not."""

    def total(self, model: str) -> int:
        """Tasks of a model that wait or are being worked on."""
        demand = self.demand.get(model)
        return demand.total if demand else 0

    def override(self, worker: str, model: str) -> Wanted | None:
        """What a person asked of the worker about the model."""
        asked = self.overrides.get(worker)
        return asked.get(model) if asked else None

    def copies_of(self, model: str, *states: CopyState) -> Sequence[tuple[WorkerSeen, Copy]]:
        """Copies on fresh workers in one of these states (all, if none is named), by worker id."""
        there = self._copies.get(model, ())
        return [each for each in there if each[1].state in states] if states else there

    def workers_of(self, pool: str) -> Sequence[WorkerSeen]:
        """Every worker of a pool, by id."""
        return self._workers_of.get(pool, ())

    def downloads_of(self, model: str) -> Sequence[tuple[str, Download]]:
        """Workers that fetch its files now, for a copy or without one, and how far they are."""
        return self._downloads.get(model, ())

    def cached_on(self, model: str) -> Sequence[str]:
        """Workers that have its files, by id."""
        return self._cached_on.get(model, ())

    @cached_property
    def takers(self) -> Mapping[str, Takers]:
        """Model -> the pools that take it."""
        return takers(self.models, self.pools, kubernetes=self.kubernetes)

    @cached_property
    def pins(self) -> Mapping[str, Sequence[ModelSeen]]:
        """Pool -> pinned models that count on it, by name: the first pool that takes each."""
        found: dict[str, list[ModelSeen]] = {}
        for name, model in sorted(self.models.items()):
            if model.floor and (pools := self.takers[name].pools):
                found.setdefault(pools[0].name, []).append(model)
        return found

    @cached_property
    def by_id(self) -> Sequence[WorkerSeen]:
        return [worker for _, worker in sorted(self.workers.items())]

    @cached_property
    def _copies(self) -> Mapping[str, list[tuple[WorkerSeen, Copy]]]:
        found: dict[str, list[tuple[WorkerSeen, Copy]]] = {}
        for worker in self.by_id:
            for name, copy in worker.copies.items() if worker.fresh else ():
                found.setdefault(name, []).extend((worker, each) for each in copy.both)
        return found

    @cached_property
    def _workers_of(self) -> Mapping[str, list[WorkerSeen]]:
        found: dict[str, list[WorkerSeen]] = {}
        for worker in self.by_id:
            found.setdefault(worker.pool, []).append(worker)
        return found

    @cached_property
    def _downloads(self) -> Mapping[str, list[tuple[str, Download]]]:
        found: dict[str, list[tuple[str, Download]]] = {}
        for worker in (each for each in self.by_id if each.fresh):
            fetching: list[Copy | FilesState] = list(worker.heartbeat.files)
            fetching += [one for copy in worker.copies.values() for one in copy.both]
            for each in fetching:
                if each.download:
                    found.setdefault(each.model, []).append((worker.id, each.download))
        return found

    @cached_property
    def _cached_on(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for worker in self.by_id:
            for name in worker.heartbeat.cached:
                found.setdefault(name, []).append(worker.id)
        return found
