"""The tables. The database is the truth; the broker is only a conveyor.

Runs unchanged on SQLite and PostgreSQL. Times are Unix seconds (UTC).
"""

from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, MetaData, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class TaskState(StrEnum):
    PENDING = "pending"
    """Waits in the database for room on the broker."""
    QUEUED = "queued"
    """Has an attempt on the broker or at a worker."""
    CAPTIONED = "captioned"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_STATES = (TaskState.PENDING, TaskState.QUEUED)


class JobState(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Priority(StrEnum):
    INTERACTIVE = "interactive"
    BATCH = "batch"


class Lane(StrEnum):
    MODEL = "model"
    SUSPECT = "suspect"
    """Alone, after a consumer died holding it."""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Installation(Base):
    """One row: who this database is, on a broker it may share."""

    __tablename__ = "installation"
    id: Mapped[str] = mapped_column(primary_key=True)
    changes: Mapped[int] = mapped_column(BigInteger, default=0)
    """Counts changes of tasks and jobs. Raised inside the transaction that makes the change, so
    that a reader who saw number n misses nothing at or below n."""


class Image(Base):
    """A picture by the sha256 of its uploaded bytes. The normalized bytes lie in the blob store."""

    __tablename__ = "images"
    id: Mapped[str] = mapped_column(primary_key=True)
    """sha256 of the upload."""
    picture_sha256: Mapped[str]
    """sha256 of the normalized picture: what models see, and the blob's name."""
    media_type: Mapped[str]
    size: Mapped[int]
    """Bytes of the normalized picture."""
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[float]
    """When it was last uploaded. Pictures that no job uses are deleted some time after."""


class Job(Base):
    """One submission."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    priority: Mapped[str]
    state: Mapped[str]
    rejected: Mapped[list[dict[str, str]]] = mapped_column(JSON)
    """[{filename, code, message}] of files that could not be used."""
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    request_digest: Mapped[str | None]
    """sha256 of the request made under that key: another request under it is refused."""
    created_at: Mapped[float]
    finished_at: Mapped[float | None]
    changed: Mapped[int] = mapped_column(BigInteger, default=0)
    """Installation.changes when this row last changed."""


class Column(Base):
    """Model x prompt x options: what is compared, sorted and voted on."""

    __tablename__ = "columns"
    id: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    model: Mapped[str]
    prompt_name: Mapped[str]
    prompt: Mapped[str]
    options: Mapped[dict[str, Any]] = mapped_column(JSON)


class JobImage(Base):
    """A row of the grid: a picture under one file name."""

    __tablename__ = "job_images"
    __table_args__ = (UniqueConstraint("job", "position"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    position: Mapped[int]
    image: Mapped[str] = mapped_column(ForeignKey("images.id"), index=True)
    filename: Mapped[str]


class Task(Base):
    """One cell of the grid, and its visible answer."""

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("job_image", "column"),
        # Open tasks are few among the finished: relay, demand and sweeper look by state first.
        Index(None, "state", "model", "lane", "priority", "id"),
        Index(None, "job", "changed", "id"),
        Index(None, "job", "state", "model"),
        Index(None, "job", "id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    # No foreign key on column: deleting a job would scan all tasks for each of its columns.
    column: Mapped[str]
    job_image: Mapped[str] = mapped_column(ForeignKey("job_images.id", ondelete="CASCADE"))
    # Copied from column and image, so that relay and results touch one table.
    model: Mapped[str]
    picture_sha256: Mapped[str]
    picture_size: Mapped[int]
    priority: Mapped[int]
    """0 interactive, 1 batch: the order of release."""
    state: Mapped[str]
    lane: Mapped[str] = mapped_column(default=Lane.MODEL)
    """Where it is, or will be, released to."""
    losses: Mapped[int] = mapped_column(default=0)
    """Attempts that were seen running and never answered."""
    attempts: Mapped[int] = mapped_column(default=0)
    caption: Mapped[str | None]
    finish: Mapped[str | None]
    seconds: Mapped[float | None]
    tokens: Mapped[int | None]
    revision: Mapped[str | None]
    worker: Mapped[str | None]
    cached: Mapped[bool] = mapped_column(default=False)
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    starred: Mapped[bool] = mapped_column(default=False)
    queued_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    changed: Mapped[int] = mapped_column(BigInteger, default=0)


class Attempt(Base):
    """One try of a task. Every token stays valid until its task is terminal."""

    __tablename__ = "attempts"
    __table_args__ = (Index(None, "ended", "confirmed"),)
    token: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE"), index=True)
    model: Mapped[str]
    lane: Mapped[str]
    confirmed: Mapped[bool] = mapped_column(default=False)
    """The broker confirmed it. False after a crash: publish again, with the same token."""
    ended: Mapped[bool] = mapped_column(default=False)
    """Answered, or given up for a further attempt."""
    seen_running: Mapped[bool] = mapped_column(default=False)
    """A heartbeat listed the token as running."""
    created_at: Mapped[float]


class ModelLock(Base):
    """The relay's lock per model: its UPDATE opens the transaction that releases tasks."""

    __tablename__ = "model_locks"
    model: Mapped[str] = mapped_column(primary_key=True)
    releases: Mapped[int] = mapped_column(default=0)


class KnownRevision(Base):
    """The revision that a model of a given fingerprint was last seen to have."""

    __tablename__ = "known_revisions"
    model: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[str]
    seen_at: Mapped[float]


class KnownCaption(Base):
    """The caption cache: the answer to (picture, model, revision, prompt, options)."""

    __tablename__ = "known_captions"
    key: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    caption: Mapped[str]
    finish: Mapped[str | None]
    seconds: Mapped[float | None]
    tokens: Mapped[int | None]
    revision: Mapped[str]
    created_at: Mapped[float]


class Override(Base):
    """What a person asked of one life of one worker about one model."""

    __tablename__ = "overrides"
    worker: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    incarnation: Mapped[str]
    """The worker's life that it was asked of, and ends with."""
    state: Mapped[str]
    """loaded, cached or absent."""
    asked_at: Mapped[float]


class CodeVersion(Base):
    """One version of a person's code with its arguments. Never changed, and never removed with
    its model: who may run code on the workers can be looked up."""

    __tablename__ = "code_versions"
    model: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    sha256: Mapped[str]
    """Of the code alone: versions that differ in arguments have the same."""
    author: Mapped[str]
    note: Mapped[str]
    """What made it, in words."""
    created_at: Mapped[float]
    applied_at: Mapped[float | None]
    """When the catalog took it; null if it never did."""
    entrypoint: Mapped[str]
    kwargs: Mapped[dict[str, str]] = mapped_column(JSON)
    files: Mapped[list[dict[str, str]]] = mapped_column(JSON)
    """[{path, content}]"""
    source: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """spec.source in manifest form."""
