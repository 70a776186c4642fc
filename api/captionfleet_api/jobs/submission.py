"""Makes jobs and adds columns to them, each in one transaction. What the rows say is drafting's."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from captionfleet.catalog import Catalog
from captionfleet.faults import fault_point
from captionfleet.ids import new_id
from captionfleet.resources import ModelSpec
from captionfleet_api.jobs import known_captions
from captionfleet_api.jobs.changes import Changes
from captionfleet_api.jobs.drafting import (
    ANSWER_FIELDS,
    ColumnDraft,
    StoredPicture,
    draft_columns,
    draft_name,
    draft_pictures,
    draft_priority,
    draft_tasks,
)
from captionfleet_api.jobs.fleet_view import FleetView
from captionfleet_api.jobs.options import canonical_options
from captionfleet_api.jobs.orders import Order
from captionfleet_api.jobs.presets import prompts_of
from captionfleet_api.jobs.refusals import Refusal
from captionfleet_api.jobs.requests import ColumnsAsked, ImageAsked
from captionfleet_api.jobs.transitions import complete_jobs
from captionfleet_api.store.engine import Database
from captionfleet_api.store.sequence import next_changes
from captionfleet_api.store.tables import (
    OPEN_STATES,
    Base,
    Column,
    Image,
    Job,
    JobImage,
    JobState,
    Task,
    TaskState,
)

T = TypeVar("T")
_TASKS, _JOB_IMAGES = Base.metadata.tables["tasks"], Base.metadata.tables["job_images"]
_ROWS_AT_ONCE = 2000
_RETRY_SECONDS = 30


@dataclass(frozen=True)
class Submission:
    """job_tasks: most tasks of one job. open_tasks: backlog above which new work is refused."""

    database: Database
    catalog: Catalog
    fleet_view: FleetView
    changes: Changes
    job_tasks: int
    open_tasks: int

    async def submit(self, order: Order) -> str:
        """Make the job; its id. Raises Refusal."""
        digest = order.digest() if order.key else None
        # Before models, presets and pictures are looked up, which may have changed since.
        if known := await self._made_before(order.key, digest):
            return known
        specs = self._specs(order.columns.all_models())
        options = canonical_options(order.columns.options)
        columns = draft_columns(prompts_of(specs, order.columns.all_prompts()), options)
        pictures = draft_pictures(order.images)
        self._check_size(len(pictures) * len(columns))
        images = await self._images(pictures)  # before the others have to wait for the write lock
        try:
            async with self.database.write() as session:
                if known := await _job_under(session, order.key, digest):
                    return known
                await self._check_backlog(session)
                job = _job_row(order, pictures, digest)
                session.add(job)
                await session.flush()
                stored = await _insert_pictures(session, job.id, pictures, images)
                await self._insert_tasks(session, job, stored, columns, specs)
        except IntegrityError:
            # The same order may have come first, or a picture was deleted just now.
            if known := await self._made_before(order.key, digest):
                return known
            await self._images(pictures)
            raise
        fault_point("job: after commit, before answer")
        self.changes.tell([job.id], specs)
        return job.id

    async def add_columns(self, job_id: str, asked: ColumnsAsked) -> None:
        """Ask more of a job's pictures. Raises Refusal."""
        specs = self._specs(asked.all_models())
        options = canonical_options(asked.options)
        prompts = prompts_of(specs, asked.all_prompts())
        async with self.database.write() as session:
            job = await session.get(Job, job_id)
            if job is None:
                raise Refusal(404, f"there is no job {job_id}")
            if job.state == JobState.CANCELLED:
                raise Refusal(409, "the job was cancelled: make a new one of its pictures")
            known = await _columns_of(session, job_id)
            columns = draft_columns(prompts, options, known)
            if not columns:
                raise Refusal(409, "the job has these columns already: change model or prompt")
            pictures = await _pictures_of(session, job_id)
            self._check_size(len(pictures) * (len(columns) + len(known)))
            await self._check_backlog(session)
            await self._insert_tasks(session, job, pictures, columns, specs)
        self.changes.tell([job_id], specs)

    async def _made_before(self, key: str | None, digest: str | None) -> str | None:
        async with self.database.read() as session:
            return await _job_under(session, key, digest)

    def _specs(self, models: Iterable[str]) -> dict[str, ModelSpec]:
        if not self.catalog.complete():
            why = self.catalog.trouble() or "send this again in a moment"
            raise Refusal(503, f"the models were not read yet: {why}", retry_after=2)
        known = self.catalog.models()
        for model in models:
            if model not in known:
                names = ", ".join(sorted(known)[:30]) or "none: apply a CaptionModel first"
                raise Refusal(
                    404, f"there is no model {model!r}; known are {names}", field="models"
                )
        return {model: known[model].spec for model in models}

    def _check_size(self, tasks: int) -> None:
        if tasks > self.job_tasks:
            raise Refusal(
                422,
                f"{tasks} tasks (pictures x columns) in one job; at most {self.job_tasks} are "
                "taken (CAPTIONFLEET_JOB_TASKS): split the pictures into several jobs",
                field="images",
            )

    async def _check_backlog(self, session: AsyncSession) -> None:
        some_open = select(Task.id).where(Task.state.in_(OPEN_STATES)).limit(self.open_tasks)
        count = select(func.count()).select_from(some_open.subquery())
        if (await session.execute(count)).scalar_one() >= self.open_tasks:
            raise Refusal(
                429,
                f"{self.open_tasks} tasks wait already (CAPTIONFLEET_OPEN_TASKS): "
                f"send this again in {_RETRY_SECONDS} s",
                retry_after=_RETRY_SECONDS,
            )

    async def _images(self, pictures: Sequence[ImageAsked]) -> dict[str, tuple[str, int]]:
        """Image id -> (picture's sha256, size). Raises Refusal if one is unknown."""
        found: dict[str, tuple[str, int]] = {}
        columns = select(Image.id, Image.picture_sha256, Image.size)
        async with self.database.read() as session:
            for some in _some_at_once({picture.id for picture in pictures}):
                for image, sha256, size in await session.execute(columns.where(Image.id.in_(some))):
                    found[image] = sha256, size
        for index, picture in enumerate(pictures):
            if picture.id not in found:
                raise Refusal(
                    422,
                    f"there is no image {picture.id}: upload it with POST /api/v1/images first",
                    field=f"images.{index}",
                )
        return found

    async def _insert_tasks(
        self,
        session: AsyncSession,
        job: Job,
        pictures: Sequence[StoredPicture],
        columns: Sequence[ColumnDraft],
        specs: Mapping[str, ModelSpec],
    ) -> None:
        """Add the columns with their tasks, known answers filled in; complete the job if that
        leaves nothing open."""
        session.add_all(Column(job=job.id, **asdict(column)) for column in columns)
        await session.flush()
        change = await next_changes(session)
        revisions = await known_captions.trusted_revisions(session, specs, self.fleet_view)
        for rows in _some_at_once(draft_tasks(job.id, job.priority, pictures, columns, change)):
            for alike in await _answered(session, rows, revisions):
                await session.execute(insert(_TASKS), alike)
        job.changed, job.state, job.finished_at = change, JobState.RUNNING, None
        await session.flush()
        await complete_jobs(session, [job.id], time.time())


def _job_row(order: Order, pictures: Sequence[ImageAsked], digest: str | None) -> Job:
    return Job(
        id=new_id(),
        name=draft_name(order.name, [picture.filename for picture in pictures]),
        priority=draft_priority(order.priority, len(pictures)),
        state=JobState.RUNNING,
        rejected=[asdict(each) for each in order.rejected],
        idempotency_key=order.key,
        request_digest=digest,
        created_at=time.time(),
    )


async def _insert_pictures(
    session: AsyncSession,
    job: str,
    pictures: Sequence[ImageAsked],
    images: Mapping[str, tuple[str, int]],
) -> list[StoredPicture]:
    rows = [
        {"id": new_id(), "job": job, "position": position, "image": picture.id,
         "filename": picture.filename}
        for position, picture in enumerate(pictures)
    ]  # fmt: skip
    for some in _some_at_once(rows):
        await session.execute(insert(_JOB_IMAGES), some)
    return [
        StoredPicture(str(row["id"]), *images[picture.id])
        for row, picture in zip(rows, pictures, strict=True)
    ]


async def _job_under(session: AsyncSession, key: str | None, digest: str | None) -> str | None:
    """The job made under that key, if any. Raises Refusal if that was another order."""
    if key is None:
        return None
    query = select(Job.id, Job.request_digest).where(Job.idempotency_key == key)
    known = (await session.execute(query)).one_or_none()
    if known and known.request_digest != digest:
        raise Refusal(
            422,
            "another request was made under this Idempotency-Key: take a fresh key",
            field="Idempotency-Key",
        )
    return known.id if known else None


async def _columns_of(session: AsyncSession, job: str) -> list[ColumnDraft]:
    query = select(Column).where(Column.job == job).order_by(Column.position)
    return [
        ColumnDraft(c.id, c.position, c.model, c.prompt_name, c.prompt, c.options)
        for c in await session.scalars(query)
    ]


async def _pictures_of(session: AsyncSession, job: str) -> list[StoredPicture]:
    rows = await session.execute(
        select(JobImage.id, Image.picture_sha256, Image.size)
        .join(Image, Image.id == JobImage.image)
        .where(JobImage.job == job)
        .order_by(JobImage.position)
    )
    return [StoredPicture(*row) for row in rows]


async def _answered(
    session: AsyncSession, rows: list[dict[str, Any]], revisions: Mapping[str, str]
) -> Iterator[list[dict[str, Any]]]:
    """The drafted rows, those whose answer is known with that answer. Each list has one shape."""
    asked = [Task(**row) for row in rows if row["model"] in revisions]
    await known_captions.fill(session, asked, revisions)
    known = {task.id: task for task in asked if task.state == TaskState.CAPTIONED}
    answered = [
        row | {field: getattr(known[row["id"]], field) for field in ANSWER_FIELDS}
        for row in rows
        if row["id"] in known
    ]
    waiting = [row for row in rows if row["id"] not in known]
    return filter(None, (waiting, answered))


def _some_at_once(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, _ROWS_AT_ONCE)):
        yield some
