"""Pictures as the api keeps them: a row in the database, the normalized bytes in the blob store."""

import hashlib
import time
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from captionfleet_api.images.blobs import Blobs
from captionfleet_api.images.children import Children
from captionfleet_api.images.uploads import Upload
from captionfleet_api.store.engine import Database
from captionfleet_api.store.tables import Image

_TOUCH_SECONDS = 3600.0


@dataclass(frozen=True)
class Pictures:
    database: Database
    blobs: Blobs
    children: Children

    async def find(self, image_id: str) -> Image | None:
        async with self.database.read() as session:
            return await session.get(Image, image_id)

    async def take(self, upload: Upload) -> Image:
        """Normalize and keep a file. Same bytes, same id: what is known is not decoded again.

        Raises BadPicture or TooBusy.
        """
        known = await self.find(upload.sha256)
        if known and await self.blobs.last_put(known.picture_sha256) is None:
            return await self._keep(upload)  # its blob got lost: put it again
        if known and time.time() - known.created_at < _TOUCH_SECONDS:
            return known
        return await self._touch(upload.sha256) or await self._keep(upload)

    async def _touch(self, image_id: str) -> Image | None:
        """It was uploaded again, so it is no orphan of old."""
        async with self.database.write() as session:
            known = await session.get(Image, image_id)
            if known:
                known.created_at = time.time()
            return known

    async def _keep(self, upload: Upload) -> Image:
        done = await self.children.normalize(await upload.read())
        image = Image(
            id=upload.sha256,
            picture_sha256=hashlib.sha256(done.picture).hexdigest(),
            media_type=done.media_type,
            size=len(done.picture),
            width=done.width,
            height=done.height,
            created_at=time.time(),
        )
        await self.blobs.put(image.picture_sha256, done.picture, done.thumbnail)
        try:
            async with self.database.write() as session:
                known = await session.get(Image, image.id)
                if known is None:
                    session.add(image)
                return known or image
        except IntegrityError:
            # On a database without one writer at a time, the same bytes may have come first.
            if known := await self.find(upload.sha256):
                return known
            raise
