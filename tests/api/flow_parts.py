"""What the tests of the flow share: a database with jobs in it, a catalog, heartbeats."""

import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY
from sqlalchemy import select

from captionfleet.catalog import FolderCatalog
from captionfleet.ids import new_id
from captionfleet.messages import Copy, CopyState, Heartbeat
from captionfleet.resources import ModelSpec
from captionfleet_api.images.blobs import Blobs
from captionfleet_api.store.engine import Database, open_database
from captionfleet_api.store.installation import installation_id
from captionfleet_api.store.tables import (
    Base,
    Column,
    Image,
    Job,
    JobImage,
    JobState,
    Priority,
    Task,
    TaskState,
)


@dataclass(frozen=True)
class Store:
    """A real database and a real blob folder."""

    database: Database
    blobs: Blobs

    async def submit(
        self,
        pictures: Sequence[bytes],
        models: Sequence[str] = ("m",),
        *,
        priority: Priority = Priority.INTERACTIVE,
        prompts: Sequence[str] = ("",),
        options: dict[str, Any] | None = None,
    ) -> str:
        """A job of these pictures under the models and prompts. Returns its id."""
        job = Job(id=new_id(), name="job", priority=priority, state=JobState.RUNNING, rejected=[],
                  created_at=time.time())  # fmt: skip
        columns = [
            Column(id=new_id(), job=job.id, position=0, model=model, prompt_name=prompt,
                   prompt=prompt, options=options or {})
            for model in models for prompt in prompts
        ]  # fmt: skip
        async with self.database.write() as session:
            session.add(job)
            await session.flush()
            session.add_all(columns)
            for position, picture in enumerate(pictures):
                row = await self._row(session, job.id, position, picture)
                session.add_all(_task(job, column, row, picture) for column in columns)
        return job.id

    async def _row(self, session: Any, job: str, position: int, picture: bytes) -> JobImage:
        sha256 = sha256_of(picture)
        await self.blobs.put(sha256, picture, b"")
        await session.merge(
            Image(id=sha256, picture_sha256=sha256, media_type="image/png", size=len(picture),
                  width=1, height=1, created_at=0)
        )  # fmt: skip
        row = JobImage(id=new_id(), job=job, position=position, image=sha256,
                       filename=f"{position}.png")  # fmt: skip
        session.add(row)
        await session.flush()
        return row

    async def tasks(self, job: str | None = None) -> list[Task]:
        """All tasks, or those of one job, oldest first."""
        query = select(Task).order_by(Task.id)
        async with self.database.read() as session:
            return list(await session.scalars(query.where(Task.job == job) if job else query))

    async def states(self, job: str | None = None) -> list[str]:
        return [task.state for task in await self.tasks(job)]

    async def job(self, id: str) -> Job:
        async with self.database.read() as session:
            return await session.get_one(Job, id)

    async def rows(self, table: type[Any]) -> list[Any]:
        async with self.database.read() as session:
            return list(await session.scalars(select(table)))


@asynccontextmanager
async def open_store(folder: Path, url: str | None = None) -> AsyncIterator[Store]:
    """Without an address of a database it is a file in the folder."""
    database = open_database(url or f"sqlite+aiosqlite:///{folder}/captionfleet.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await installation_id(database)
    try:
        yield Store(database, Blobs(folder / "blobs"))
    finally:
        await database.close()


def catalog_of(folder: Path, *models: str) -> FolderCatalog:
    """A catalog with these models, each from a hub."""
    manifests = [
        {
            "apiVersion": "captionfleet.io/v1alpha1",
            "kind": "CaptionModel",
            "metadata": {"name": model},
            "spec": _spec(model),
        }
        for model in models
    ]
    (folder / "manifests").mkdir(exist_ok=True)
    (folder / "manifests" / "models.yaml").write_text(yaml.safe_dump_all(manifests))
    return FolderCatalog(folder / "manifests", folder / "data", folder / "custom")


def fingerprint_of(model: str) -> str:
    """Of the spec that `catalog_of` gives this model."""
    return ModelSpec.model_validate(_spec(model)).fingerprint()


def copy_of(model: str, **changes: Any) -> Copy:
    """A loaded copy that takes work: 2 pictures at a time, 10 per second."""
    ready = Copy(
        model=model, state=CopyState.READY, fingerprint=fingerprint_of(model), revision="r1",
        consuming=True, rates={2: 10.0}, max_batch_size=2,
    )  # fmt: skip
    return ready.model_copy(update=changes)


def heartbeat(*copies: Copy, worker: str = "w", **changes: Any) -> Heartbeat:
    plain = Heartbeat(
        worker=worker, pool="pool", incarnation="1", host="host", pid=1, device="CPU",
        memory_total=2**30, memory_used=2**20, sent_at=0, copies=list(copies),
    )  # fmt: skip
    return plain.model_copy(update=changes)


def counted(name: str, **labels: str) -> float:
    """What /metrics says: all tests of this process count together, so compare before and after."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def sha256_of(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()


def _spec(model: str) -> dict[str, Any]:
    return {"source": {"huggingFace": {"repo": f"somebody/{model}"}}}


def _task(job: Job, column: Column, row: JobImage, picture: bytes) -> Task:
    return Task(
        id=new_id(), job=job.id, column=column.id, job_image=row.id, model=column.model,
        picture_sha256=row.image, picture_size=len(picture), state=TaskState.PENDING,
        priority=0 if job.priority == Priority.INTERACTIVE else 1,
    )  # fmt: skip
