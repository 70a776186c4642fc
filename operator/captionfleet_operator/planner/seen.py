"""What is seen of one model, one pool, one worker: the parts of a World."""

from dataclasses import dataclass
from functools import cached_property

from captionfleet.messages import Copy, CopyState, Heartbeat
from captionfleet.resources import ModelManifest, ModelSpec, PoolManifest, PoolSpec
from captionfleet.resources.model import CustomFile, Residency, ResidencyPolicy
from captionfleet.sizes import WeightSizes

FRESH_SECONDS = 10.0
"""A worker unheard for longer gets no new copies."""


@dataclass(frozen=True)
class ModelSeen:
    """A model of the catalog."""

    manifest: ModelManifest
    fingerprint: str
    weights: WeightSizes | None = None
    """What its weight files hold, if somebody could look."""
    queue_trouble: str = ""
    """Why its queues could not be declared."""
    code: tuple[CustomFile, ...] = ()
    """Its code, if that stands in a ConfigMap."""
    code_trouble: str = ""
    """Why that code cannot be had."""

    @property
    def name(self) -> str:
        return self.manifest.metadata.name

    @property
    def spec(self) -> ModelSpec:
        return self.manifest.spec

    @property
    def residency(self) -> Residency:
        return self.manifest.spec.residency

    @property
    def stopped(self) -> bool:
        """It shall have no copies: a person suspended or deleted it."""
        return self.manifest.spec.suspend or self.deleted

    @property
    def deleted(self) -> bool:
        """Its deletion was asked for, and somebody's finalizer holds it."""
        return self.manifest.metadata.deletion_timestamp is not None

    @property
    def fetched(self) -> bool:
        """Its files come over the network."""
        source = self.manifest.spec.source
        return source is not None and source.hugging_face is not None

    @property
    def brings_code(self) -> bool:
        custom = self.manifest.spec.custom
        return custom is not None and custom.is_brought

    @property
    def claim(self) -> str | None:
        """The volume claim that holds its files."""
        source = self.manifest.spec.source
        return source.volume.claim_name if source and source.volume else None

    @property
    def floor(self) -> int:
        """Copies that are kept even without demand, and never evicted."""
        residency = self.manifest.spec.residency
        pinned = residency.policy == ResidencyPolicy.PINNED and not self.stopped
        return residency.min_copies if pinned else 0


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
    selector: str = ""
    """Labels of its pods as text; empty without Kubernetes."""

    @property
    def name(self) -> str:
        return self.manifest.metadata.name

    @property
    def spec(self) -> PoolSpec:
        return self.manifest.spec

    @property
    def deleted(self) -> bool:
        return self.manifest.metadata.deletion_timestamp is not None

    @property
    def stopped(self) -> bool:
        """It shall have no workers: a person suspended or deleted it."""
        return self.manifest.spec.suspend or self.deleted

    @cached_property
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

    @cached_property
    def classes(self) -> frozenset[str]:
        """Entrypoints of the custom code it has."""
        return frozenset(each.entrypoint for each in self.heartbeat.custom)

    @property
    def memory_domain(self) -> str:
        """Workers of one domain share memory: those of one host, or of one GPU."""
        beat = self.heartbeat
        return f"{beat.host}/{beat.device_name}" if beat.device == "GPU" else beat.host


def serves(copy: Copy) -> bool:
    """It has passed its smoke test, and captions or will again once its engine is back."""
    return copy.state == CopyState.READY or (
        copy.state == CopyState.LOADING and copy.revision is not None
    )


def at_work(copy: Copy) -> bool:
    """It had work within the last second. Between two batches a copy is not idle."""
    return copy.state == CopyState.READY and copy.idle_seconds < 1
