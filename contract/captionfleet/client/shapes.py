"""What the api answers, as frozen types. Fields of a newer api are ignored."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Image(Shape):
    id: str
    """sha256 of the uploaded bytes: the same file has the same id everywhere."""
    sha256: str
    width: int
    height: int
    filename: str = ""


class Prompt(Shape):
    text: str | None = None
    """None: each model's own preset of that name."""
    name: str = ""
    """Short name for a column head. Empty: the api makes one."""


class Column(Shape):
    id: str
    model: str
    prompt: str = ""
    """Empty: the model's own way."""
    prompt_name: str = ""
    options: dict[str, Any] = {}


class Counts(Shape):
    """Tasks by state; each task counts once."""

    pending: int = 0
    queued: int = 0
    running: int = 0
    captioned: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.open + self.captioned + self.failed + self.cancelled

    @property
    def open(self) -> int:
        return self.pending + self.queued + self.running


class Rejected(Shape):
    """A file that could not be used, and why."""

    filename: str
    code: str
    message: str


class Job(Shape):
    id: str
    name: str
    state: Literal["running", "completed", "cancelled"]
    counts: Counts = Counts()
    rejected: list[Rejected] = []
    columns: list[Column] = []
    images: int = 0
    """Rows of the grid."""
    eta_seconds: float | None = None
    created_at: str | None = None
    """RFC 3339."""
    finished_at: str | None = None


class TaskState(StrEnum):
    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    CAPTIONED = "captioned"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Caption(Shape):
    text: str
    finish: str | None = None
    """stop, or length when it was cut at the token limit."""
    seconds: float | None = None
    tokens: int | None = None
    revision: str | None = None
    cached: bool = False
    worker: str | None = None


class Failure(Shape):
    code: str
    message: str


class Task(Shape):
    """One cell of the grid."""

    id: str
    job: str
    image: Image
    column: str
    model: str
    prompt: str = ""
    state: TaskState
    reason: str | None = None
    """Why it waits, while it does."""
    caption: Caption | None = None
    error: Failure | None = None
    attempts: int = 0
    starred: bool = False


class Captions(Shape):
    """All answers for one picture, as far as there are."""

    job: Job
    tasks: list[Task]


class GridRow(Shape):
    position: int
    image: Image
    cells: dict[str, Task]
    """By column id."""


class ColumnSummary(Shape):
    id: str
    captioned: int = 0
    failed: int = 0
    waiting: int = 0
    median_seconds: float | None = None
    median_words: float | None = None
    starred: int = 0


class Event(Shape):
    """One change of a job; `task` or `job` is set."""

    id: str
    kind: Literal["task", "job", "done"]
    task: Task | None = None
    job: Job | None = None


class Memory(Shape):
    total: int = 0
    used: int = 0


class Download(Shape):
    """How far the files of a model are fetched."""

    files_done: int = 0
    files_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    percent: int = 0
    bytes_per_second: float | None = None
    """Over the last seconds; None until it is measured."""
    seconds_left: float | None = None
    """At that speed; None while nothing comes."""


class Disk(Shape):
    """The disk that a worker's downloads go to."""

    cache_bytes: int = 0
    """What the downloaded models take."""
    free_bytes: int = 0
    room_bytes: int = 0
    """What may still be downloaded before the watermark is reached."""


class WorkerCopy(Shape):
    model: str
    state: str
    revision: str | None = None
    memory: int | None = None
    in_flight: int = 0
    message: str | None = None
    """Why it failed, or how far it is."""
    download: Download | None = None
    """While downloading."""


class Override(Shape):
    """What a person asked of a worker about a model, and what became of it."""

    model: str
    state: Literal["loaded", "cached", "absent"]
    message: str = ""
    """How far it has got, or why it cannot be done."""
    done: bool = False
    refused: bool = False
    """It cannot be done as things stand."""


class Worker(Shape):
    id: str
    pool: str
    node: str = ""
    device: str = ""
    memory: Memory = Memory()
    copies: list[WorkerCopy] = []
    cached: list[str] = []
    disk: Disk | None = None
    """Where its downloads go."""
    overrides: dict[str, Override] = {}
    """By model."""
    draining: bool = False
    fresh: bool = True
    """Heard within three heartbeat periods."""
    seen_at: str | None = None
    """RFC 3339."""


class CodeVersion(Shape):  # type: ignore[no-redef] # its kwargs, with those of mypy's plugin
    """One version of a model's uploaded code and its arguments."""

    model: str
    number: int
    sha256: str = ""
    """Of the code alone."""
    author: str = ""
    note: str = ""
    """What made it, in words."""
    created_at: str | None = None
    applied_at: str | None = None
    """RFC 3339; None if it is not known to have taken effect."""
    current: bool = False
    entrypoint: str = ""
    kwargs: dict[str, str] = {}


class BrokerState(Shape):
    connected: bool = False
    message: str = ""


class OperatorState(Shape):
    seen_seconds: float | None = None
    """Seconds since it was last heard from; None if never."""
    message: str = ""


class Offer(Shape):
    """A model that the demo offers to fetch from the hub."""

    name: str
    display_name: str = ""
    repo: str = ""
    size_bytes: int = 0
    license: str = ""


class Demo(Shape):
    hub_reachable: bool | None = None
    offers: list[Offer] = []


class CatalogState(Shape):
    """Where models and pools are kept, and why what is told of them may be out of date."""

    kind: str = "folder"
    name: str = ""
    trouble: str = ""


class Fleet(Shape):
    fleet: str
    version: str = ""
    broker: BrokerState = BrokerState()
    operator: OperatorState = OperatorState()
    workers: int = 0
    catalog: CatalogState = CatalogState()
    catalog_problems: list[str] = []
    demo: Demo | None = None
