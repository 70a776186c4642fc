"""What the planner is told: everything seen at one moment, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from captionfleet.messages import Copy, CopyState, Heartbeat, ModelDemand
from captionfleet.resources import ModelManifest, ModelSpec, PoolManifest, PoolSpec
from captionfleet.resources.model import Residency, ResidencyPolicy

FRESH_SECONDS = 10.0
"""A worker unheard for longer gets no new copies."""


@dataclass(frozen=True)
class ModelSeen:
    """A model of the catalog."""

    manifest: ModelManifest
    fingerprint: str
    weight_bytes: int | None = None
    """Size of its weight files, if somebody could look."""
    queue_trouble: str = ""
    """Why its queues could not be declared."""

    @property
    def spec(self) -> ModelSpec:
        return self.manifest.spec

    @property
    def residency(self) -> Residency:
        return self.manifest.spec.residency

    @property
    def fetched(self) -> bool:
        """Its files come over the network."""
        source = self.manifest.spec.source
        return source is not None and source.hugging_face is not None

    @property
    def floor(self) -> int:
        """Copies that are kept even without demand, and never evicted."""
        pinned = self.residency.policy == ResidencyPolicy.PINNED
        return self.residency.min_copies if pinned and not self.spec.suspend else 0


@dataclass(frozen=True)
class OwnWorker:
    """A worker that we started and that still runs."""

    id: str
    age_seconds: float
    draining: bool = False


@dataclass(frozen=True)
class PoolSeen:
    """A pool of the catalog and the workers we started for it."""

    manifest: PoolManifest
    own: tuple[OwnWorker, ...] = ()
    trouble: str = ""
    """Why a wanted worker does not run, as a sentence."""
    trouble_reason: str = ""
    """The same as one word, for programs."""
    shares_memory: bool = True
    """Its workers share one machine: another worker brings no memory."""

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def spec(self) -> PoolSpec:
        return self.manifest.spec

    @property
    def staying(self) -> tuple[OwnWorker, ...]:
        return tuple(worker for worker in self.own if not worker.draining)


@dataclass(frozen=True)
class WorkerSeen:
    """A worker as last heard."""

    heartbeat: Heartbeat
    silent_seconds: float = 0.0
    own: bool = True
    draining: bool = False

    @property
    def id(self) -> str:
        return self.heartbeat.worker

    @property
    def pool(self) -> str:
        return self.heartbeat.pool

    @property
    def fresh(self) -> bool:
        return self.silent_seconds <= FRESH_SECONDS

    @property
    def open(self) -> bool:
        """New copies may be placed here."""
        return self.fresh and not self.draining

    @cached_property
    def copies(self) -> dict[str, Copy]:
        return {copy.model: copy for copy in self.heartbeat.copies}

    @property
    def memory_domain(self) -> str:
        """Workers of one domain share memory: those of one host, or of one GPU."""
        beat = self.heartbeat
        return f"{beat.host}/{beat.device_name}" if beat.device == "GPU" else beat.host


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
    kubernetes: bool = False
    """Workers are pods, which can mount claims; else they are processes of this machine."""
    broker_trouble: str = ""
    """Why the broker has been out of reach for a while; empty while it is not."""

    def total(self, model: str) -> int:
        """Tasks of a model that wait or are being worked on."""
        demand = self.demand.get(model)
        return demand.total if demand else 0

    def copies_of(self, model: str, *states: CopyState) -> list[tuple[WorkerSeen, Copy]]:
        """Copies on fresh workers in one of these states (all, if none is named), by worker id."""
        return [
            (worker, copy)
            for _, worker in sorted(self.workers.items())
            if worker.fresh and (copy := worker.copies.get(model))
            if not states or copy.state in states
        ]


def at_work(copy: Copy) -> bool:
    """It had work within the last second. Between two batches a copy is not idle."""
    return copy.state == CopyState.READY and copy.idle_seconds < 1
