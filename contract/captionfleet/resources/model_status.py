"""CaptionModel.status: written by the operator alone, read by people, the api and the console."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from captionfleet.resources.base import Resource

LONGEST_LIST = 64
"""A status stays small however large the fleet is: the counts beside a list are whole."""


class ModelPhase(StrEnum):
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    LOADING = "Loading"
    READY = "Ready"
    STANDBY = "Standby"
    UPDATING = "Updating"
    DEGRADED = "Degraded"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    TERMINATING = "Terminating"


class Condition(Resource):
    type: str
    """What is judged, for example Ready."""
    status: str
    """True, False or Unknown."""
    reason: str
    """One word for programs."""
    message: str
    """One sentence for people."""
    last_transition_time: str
    """When status last changed, RFC 3339."""
    observed_generation: int = 0
    """The generation of the spec that was judged."""


Conditions = Annotated[
    list[Condition],
    Field(
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        }
    ),
]


class RevisionStatus(Resource):
    active: str | None = None
    """Revision that answers now, or answered last."""
    target: str | None = None
    """Revision of the present spec; absent until a copy of it was loaded once."""
    proven: str | None = None
    """Digest of the spec that passed its smoke test last. It is not proven again."""


class QueueStatus(Resource):
    name: str
    """Name of the model's queue on the broker."""
    pending: int = 0
    """Tasks that wait in the database."""
    released: int = 0
    """Tasks on the broker or at a worker."""
    total: int = 0
    """pending + released."""
    wait_seconds: int | None = None
    """Estimated seconds until the last of them is done; absent while the speed is unknown."""
    wait: str = ""
    """The same for people, for example 40s."""
    consumers: int = 0
    """Copies that take tasks now."""


class CopyStatus(Resource):
    worker: str
    """Worker that holds the copy."""
    state: str
    """downloading, loading, ready, unloading or failed."""
    device: str
    """CPU or GPU."""
    revision: str | None = None
    """Revision of this copy."""
    memory_bytes: int | None = None
    """Measured memory."""
    message: str = ""
    """Why it failed, or how far it is."""


class CopiesStatus(Resource):
    desired: int = 0
    """Copies the plan wants."""
    loaded: int = 0
    """Copies that passed their smoke test."""
    loading: int = 0
    """Copies on the way."""
    failed: int = 0
    """Copies that could not be loaded."""
    summary: str = "0/0"
    """loaded/desired."""
    instances: Annotated[list[CopyStatus], Field(max_length=LONGEST_LIST)] = []
    """The copies there are, the first 64 by worker."""


class PerformanceStatus(Resource):
    images_per_second: float | None = None
    """Best measured rate of one copy."""
    p50_seconds: float | None = None
    """Median seconds per picture at the best batch size."""
    load_seconds: float | None = None
    """Seconds the last load took."""
    memory_bytes: int | None = None
    """Measured memory of one copy."""


class FailureStatus(Resource):
    reason: str
    """One word for programs."""
    message: str
    """What happened, why, and what to do."""
    worker: str
    """Where."""
    time: str
    """When, RFC 3339."""
    next_retry_time: str | None = None
    """When it is tried again, RFC 3339."""
    retriable: bool = True
    """It may heal without a change of the spec. Otherwise a proof is not tried again."""
    fingerprint: str = ""
    """Digest of the spec that failed: the failure of an earlier spec is no news."""


class RolloutStatus(Resource):
    digest: str
    """Digest of the spec that is on its way to the copies."""
    since: str
    """Since when, RFC 3339."""
    message: str = ""
    """Why nothing serves meanwhile, if the old copy had to be unloaded first."""


class DownloadStatus(Resource):
    worker: str
    """Worker that fetches; of several the one that has most."""
    files_done: int = 0
    """Files that are whole."""
    files_total: int = 0
    """Files that loading needs."""
    bytes_done: int = 0
    """Bytes that are there, rounded to MB."""
    bytes_total: int = 0
    """Bytes that loading needs."""
    percent: int = 0
    """bytesDone of bytesTotal."""
    bytes_per_second: int | None = None
    """Speed over the last seconds; absent until it is measured."""
    seconds_left: int | None = None
    """At that speed; absent while nothing comes."""


class ModelStatus(Resource):
    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    phase: ModelPhase = ModelPhase.PENDING
    """Where the model is."""
    message: str = ""
    """Why it is there, in one sentence with live numbers."""
    source: str = ""
    """Where it comes from, as text."""
    revision: RevisionStatus = RevisionStatus()
    """Which revision answers."""
    asked: str = ""
    """How it is asked where a job says nothing, as the last copy told."""
    queue: QueueStatus | None = None
    """Its queue."""
    copies: CopiesStatus = CopiesStatus()
    """Its copies."""
    download: DownloadStatus | None = None
    """How far its files are fetched, while they are."""
    cached_on: Annotated[list[str], Field(max_length=LONGEST_LIST)] = []
    """Workers that have its files, the first 64 by name."""
    performance: PerformanceStatus = PerformanceStatus()
    """What was measured."""
    last_failure: FailureStatus | None = None
    """The last thing that went wrong."""
    rollout: RolloutStatus | None = None
    """A change that has not reached every copy yet; absent otherwise."""
    conditions: Conditions = []
    """Accepted, QueueReady, Cached, Scheduled, Loaded, Ready, Progressing, Degraded, Suspended."""
