"""Deletes pictures that no job shows, some hours after they were last uploaded."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import delete, exists, select

from captionfleet_api.images.blobs import Blobs
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import Image, JobImage

log = structlog.get_logger()

_BETWEEN_ROUNDS = 600.0
_AT_ONCE = 500


@dataclass(frozen=True)
class Janitor:
    database: Database
    blobs: Blobs
    orphan_seconds: float

    async def run(self) -> None:
        """Clean up every 10 minutes until cancelled."""
        while True:
            try:
                while await self.clean_some():
                    pass
            except Exception:
                log.exception("unused pictures could not be deleted; tried again in 10 minutes")
            await asyncio.sleep(_BETWEEN_ROUNDS)

    async def clean_some(self) -> int:
        """Delete some unused pictures; how many."""
        before = time.time() - self.orphan_seconds
        unused = ~exists().where(JobImage.image == Image.id)
        async with self.database.write() as session:
            query = select(Image).where(Image.created_at < before, unused).limit(_AT_ONCE)
            images = (await session.scalars(query)).all()
            await session.execute(delete(Image).where(Image.id.in_([i.id for i in images])))
        await self._delete_blobs([image.picture_sha256 for image in images], before)
        return len(images)

    async def _delete_blobs(self, pictures: Sequence[str], before: float) -> None:
        """Only blobs that no row names and nobody put lately: an upload puts first, then names."""
        async with self.database.read() as session:
            named = select(Image.picture_sha256).where(Image.picture_sha256.in_(pictures))
            still_used = set(await session.scalars(named))
        for picture in set(pictures) - still_used:
            put = await self.blobs.last_put(picture)
            if put is None or put.timestamp() < before:
                await self.blobs.delete(picture)
