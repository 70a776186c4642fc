"""How workers, the operator and the apis tell each other how things are and should be."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from captionfleet.messages.base import Message


class CopyState(StrEnum):
    DOWNLOADING = "downloading"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    FAILED = "failed"


class Download(Message):
    """How far the files of a model are fetched. What was there before counts as done."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    bytes_per_second: float | None = None
    """Over the last seconds; None until it is measured."""
    seconds_left: float | None = None
    """At that speed; None while nothing comes."""
    file: str = ""
    """The file that is being fetched."""

    @property
    def percent(self) -> int:
        return 100 * self.bytes_done // self.bytes_total if self.bytes_total else 100

    def told(self) -> str:
        """For people: 1.2 of 3.4 GB, 35 MB/s, about 1 min left."""
        unit = "GB" if self.bytes_total >= 10**9 else "MB"
        size = 10**9 if unit == "GB" else 10**6
        digits = 1 if self.bytes_total < 100 * size else 0
        done, total = (f"{each / size:.{digits}f}" for each in (self.bytes_done, self.bytes_total))
        parts = [f"{done} of {total} {unit}"]
        if self.bytes_per_second is not None:
            parts.append(f"{self.bytes_per_second / 10**6:.2g} MB/s")
        if self.seconds_left is not None and self.bytes_done < self.bytes_total:
            parts.append(f"about {_duration(self.seconds_left)} left")
        return ", ".join(parts)


class Disk(Message):
    """The disk that a worker's downloads go to."""

    cache_bytes: int
    """What the downloaded models take."""
    free_bytes: int
    """Left on that disk for this worker's user."""
    room_bytes: int
    """What may still be downloaded before the watermark is reached."""


class Copy(Message):
    """A model on a worker, as the worker sees it."""

    model: str
    state: CopyState
    fingerprint: str
    """ModelSpec.fingerprint() of the spec it was made from."""
    revision: str | None = None
    asked: str = ""
    """When loaded: how it is asked where a job says nothing, in words."""
    reason: str | None = None
    """One word, when failed: LoadFailed, SmokeTestFailed, OutOfMemory, CodeError, ..."""
    message: str | None = None
    """For people: why it failed, or how far it is."""
    retry_in_seconds: float | None = None
    """When failed: seconds until the worker tries again."""
    retriable: bool = True
    """When failed: it may heal without a change of the spec or the code."""
    state_seconds: float = 0
    """Seconds in this state."""
    download: Download | None = None
    """While downloading."""
    memory_bytes: int | None = None
    load_seconds: float | None = None
    rates: dict[int, float] = {}
    """Measured pictures per second, by batch size."""
    median_seconds: float | None = None
    """Median seconds per picture over the last 100."""
    max_batch_size: int = 1
    """Most pictures of one batch: what the manifest says, or what memory was found to allow."""
    batch_size: int | None = None
    """The batch size that was learned to be best, or that is tried now."""
    consuming: bool = False
    """Its consumer is open."""
    idle_seconds: float = 0
    """Seconds since it last had work."""

    beside: "Copy | None" = None
    """Another copy of the model on the same worker, while one takes over from the other: the
    successor on its way, or the predecessor that finishes what it holds."""

    @property
    def both(self) -> tuple["Copy", ...]:
        """This copy, and the one beside it if there is one."""
        return (self, self.beside) if self.beside else (self,)

    def best_rate(self) -> tuple[int, float] | None:
        """(batch size, pictures per second) of the fastest batch size measured so far."""
        return max(self.rates.items(), key=lambda item: item[1]) if self.rates else None


def broken_file(module: str) -> str:
    """Entrypoint under which a file that is no Python is reported: all classes it may have."""
    return f"{module}:*"


def reported_as(entrypoint: str) -> frozenset[str]:
    """Reported entrypoints that stand for this one. Who loads a broken file is told its line."""
    return frozenset({entrypoint, broken_file(entrypoint.partition(":")[0])})


class CustomClass(Message):
    """A CustomModel that a worker found in its custom_infer folder."""

    entrypoint: str
    sha256: str
    problem: str = ""
    """Why its file is no Python, with its line; empty if it is."""


class FilesState(Message):
    """What a worker does about the files of a model that no copy waits for, or could not do."""

    model: str
    wanted: "Wanted"
    """cached: they are fetched; absent: they are deleted."""
    message: str
    """For people: how far it is, or why it cannot be done."""
    download: Download | None = None
    failed: bool = False


class Generation(Message):
    """Age of an assignment: a later incarnation of the operator wins, then the counter."""

    incarnation: str
    counter: int


class Heartbeat(Message):
    """Sent by every worker, every 2 s and on change, to the heartbeats exchange."""

    worker: str
    pool: str
    incarnation: str
    host: str
    pid: int
    device: str
    """CPU or GPU."""
    device_name: str = ""
    memory_total: int
    """Bytes that copies may use here: of the GPU on a GPU worker, else of the cgroup or host."""
    memory_used: int
    sent_at: float
    """Unix seconds by the worker's clock: for age use the time of arrival."""
    cached: list[str] = []
    """Models whose files are here."""
    disk: Disk | None = None
    """None until it was measured."""
    custom: list[CustomClass] = []
    copies: list[Copy] = []
    files: list[FilesState] = []
    """Files that are being fetched or deleted by themselves, or could not be."""
    held: list[str] = []
    """Attempt tokens taken from the broker and not answered."""
    running: list[str] = []
    """Those of them that an engine works on now."""
    assignment: Generation | None = None
    draining: bool = False
    gone: bool = False
    """The last heartbeat of a worker that ends."""


class Wanted(StrEnum):
    LOADED = "loaded"
    CACHED = "cached"
    ABSENT = "absent"


class OverrideState(Message):
    """How far an override has got, or why it cannot be done."""

    message: str
    wanted: Wanted | None = None
    """What was asked: the answer to an earlier word is none to a later one."""
    done: bool = False
    """The worker is as it was asked to be."""
    refused: bool = False
    """It cannot be done as things stand."""


class OperatorHeartbeat(Message):
    """Sent by the operator, every 2 s and on change, to the same exchange: why models wait."""

    operator: str
    incarnation: str
    waiting: dict[str, str]
    """Model -> one sentence that says why its tasks wait, with live numbers."""
    pools: dict[str, str] = {}
    """Pool -> what it is doing, in one sentence."""
    overrides: dict[str, dict[str, OverrideState]] = {}
    """Worker -> model -> what became of the override there."""


class Change(StrEnum):
    """What becomes of a copy that is made from an earlier spec, and serves."""

    REPLACE = "replace"
    """It is unloaded, then the new one is loaded."""
    BESIDE = "beside"
    """The new one is loaded beside it, and takes over when it is ready."""
    HOLD = "hold"
    """It goes on for now: its turn comes later."""


class ModelAssignment(Message):
    """What one worker shall do about one model."""

    state: Wanted
    fingerprint: str
    spec: dict[str, Any]
    """The ModelSpec in manifest form, with volume paths made absolute."""
    code_left_out: bool = False
    """spec.custom.files came with an earlier assignment of this fingerprint, or is not needed."""
    change: Change = Change.REPLACE
    """How the new spec takes the place of an old one, where a copy of one is loaded."""
    asked: bool = False
    """A person asked for this state here: files are fetched or deleted for it, and kept."""


class Assignment(Message):
    """The whole wanted state of one worker. What is not named shall not be loaded.

    Carries specs and later credentials: never log it.
    """

    worker: str
    generation: Generation
    models: dict[str, ModelAssignment]
    max_concurrent_loads: int = 1
    """Most copies this worker loads at the same time; the others wait their turn."""


class ModelDemand(Message):
    pending: int = 0
    """Tasks waiting in the database."""
    released: int = 0
    """Tasks on the broker or at a worker."""

    @property
    def total(self) -> int:
        return self.pending + self.released


class Override(Message):
    """What a person asked of one worker about one model, over the planner's wish."""

    worker: str
    incarnation: str
    """It ends with this life of the worker."""
    model: str
    state: Wanted
    asked_at: float
    """Unix seconds by the database that keeps it."""


class Demand(Message):
    """Sent by every api, every 2 s and at once when a model's work begins."""

    backend: str
    """The api's results queue: two apis of one database send the same, and count once."""
    models: dict[str, ModelDemand] = Field(default_factory=dict)
    overrides: list[Override] = []
    as_of: int = 0
    """The database's number of changes when this was read: what was read earlier never wins."""


class Cancellation(Message):
    """Sent by an api to all workers when a person has ended tasks that may be with them."""

    tokens: frozenset[str]
    """Of all attempts at these tasks. Nobody waits for their answers any more."""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def decode_heartbeat(body: bytes) -> Heartbeat | OperatorHeartbeat:
    """Raises pydantic.ValidationError on a body that is neither."""
    if b'"operator"' in body[:40]:
        return OperatorHeartbeat.model_validate_json(body)
    return Heartbeat.model_validate_json(body)
