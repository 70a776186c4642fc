"""Sends a submission: uploads what the server lacks and makes the jobs. Prints nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from captionfleet.client import Client, Job, Picture, Refused, TaskState, Uploaded
from captionfleet_cli.local_files import remember_sources
from captionfleet_cli.submit.missing import Batches, Column, Coverage, orders
from captionfleet_cli.submit.pictures import file_sha256, find_pictures

_ON_ITS_WAY = (TaskState.PENDING, TaskState.QUEUED, TaskState.RUNNING, TaskState.CAPTIONED)


@dataclass(frozen=True)
class Submission:
    """What a person asked for."""

    paths: tuple[Path, ...]
    models: tuple[str, ...]
    prompts: tuple[str, ...]
    presets: Mapping[Column, str]
    """Names of presets, by the columns they stand for."""
    name: str
    resume: bool

    @property
    def columns(self) -> list[Column]:
        own = () if self.presets else ("",)
        texts = [(model, text) for text in self.prompts or own for model in self.models]
        return [*texts, *self.presets]


@dataclass
class Sent:
    """What became of it."""

    jobs: dict[str, Job] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    complete: int = 0
    """Pictures of which nothing was missing."""
    remembered: bool = True
    """Where the pictures lie is noted on this machine."""


async def send(
    client: Client, submission: Submission, progress: Callable[[], None] = lambda: None
) -> Sent:
    """Upload and make jobs. `progress` is called once per picture dealt with.

    With `resume`, jobs of the same name count as earlier parts of this submission: what they have
    captioned, or are about to, is left alone; what failed there is tried again; the rest is sent.
    """
    sent, coverage, batches = Sent(), Coverage(submission.columns), Batches()
    if submission.resume:
        await _take_up(client, submission, sent, coverage)

    def wanted() -> Iterator[Picture]:
        for picture in find_pictures(submission.paths):
            image = file_sha256(picture.path) if submission.resume else None
            if image and not coverage.missing(image, picture.filename):
                sent.complete += 1
                progress()
            else:
                yield Picture(picture.path, picture.filename, image)

    async for answer in client.upload_all(wanted()):
        progress()
        if isinstance(answer, Refused):
            sent.refused.append(answer)
            continue
        missing = coverage.missing(answer.image, answer.picture.filename)
        if full := batches.add(answer, missing):
            await _make_jobs(client, submission, sent, *full)
    for columns, pictures in batches.rest():
        await _make_jobs(client, submission, sent, columns, pictures)
    return sent


async def _take_up(client: Client, submission: Submission, sent: Sent, coverage: Coverage) -> None:
    async for job in client.jobs():
        if job.name != submission.name or job.state == "cancelled":
            continue
        prompts = {column.id: column.prompt for column in job.columns}
        if job.counts.failed:
            job = await client.retry(job.id)
        async for task in client.tasks(job.id):
            if task.state in _ON_ITS_WAY:
                column = (task.model, prompts.get(task.column, ""))
                coverage.add(task.image.id, task.image.filename, column)
        sent.jobs[job.id] = job


async def _make_jobs(
    client: Client,
    submission: Submission,
    sent: Sent,
    columns: Sequence[Column],
    pictures: list[Uploaded],
) -> None:
    for order in orders(columns, submission.presets):
        job = await client.create_job(
            ((each.image, each.picture.filename) for each in pictures),
            order.models,
            prompts=order.prompts,
            name=submission.name,
        )
        sent.jobs[job.id] = job
        places = ((p.image, p.picture.filename, p.picture.path) for p in pictures)
        sent.remembered &= remember_sources(job.id, places)
