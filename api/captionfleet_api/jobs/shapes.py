"""REST shapes of jobs and tasks (DESIGN: REST and CLI). Times are RFC 3339 in UTC."""

from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

S = TypeVar("S")


class Shape(BaseModel):
    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


class Page(Shape, Generic[S]):
    items: list[S]
    next: str | None = None
    """Cursor of the next page; null on the last."""


class ImageShape(Shape):
    id: str
    """sha256 of the uploaded bytes: the same file has the same id."""
    filename: str
    sha256: str
    width: int
    """Of the normalized picture, which models see."""
    height: int


class Counts(Shape):
    """Tasks by state; each task counts once."""

    pending: int = 0
    queued: int = 0
    running: int = 0
    captioned: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def open(self) -> int:
        return self.pending + self.queued + self.running


class ColumnShape(Shape):
    id: str
    position: int
    model: str
    prompt_name: str
    prompt: str
    options: dict[str, Any]


class RejectedShape(Shape):
    filename: str
    code: str
    message: str


class JobShape(Shape):
    id: str
    name: str
    priority: str
    state: str
    """running, completed or cancelled."""
    counts: Counts
    rejected: list[RejectedShape]
    columns: list[ColumnShape]
    images: int
    """Rows of the grid."""
    eta_seconds: float | None
    """Seconds until its last task is done; null while the speed is unknown."""
    created_at: str
    finished_at: str | None


class CaptionShape(Shape):
    text: str
    finish: str | None
    """stop, or length when the caption was cut at the token limit."""
    seconds: float | None
    tokens: int | None
    revision: str | None
    cached: bool
    """Answered from the caption cache."""
    worker: str | None


class ErrorShape(Shape):
    code: str
    message: str


class TaskShape(Shape):
    id: str
    job: str
    image: ImageShape
    column: str
    model: str
    prompt: str
    state: str
    """pending, queued, running, captioned, failed or cancelled."""
    reason: str | None
    """Why it waits, while it does."""
    caption: CaptionShape | None
    error: ErrorShape | None
    attempts: int
    starred: bool


class GridRow(Shape):
    position: int
    image: ImageShape
    cells: dict[str, TaskShape]
    """By column id."""


class ColumnSummary(Shape):
    id: str
    captioned: int = 0
    failed: int = 0
    waiting: int = 0
    median_seconds: float | None = None
    median_words: float | None = None
    starred: int = 0


class Summary(Shape):
    columns: list[ColumnSummary]


class CaptionsShape(Shape):
    """All answers for one picture."""

    job: JobShape
    tasks: list[TaskShape]


def rfc3339(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
