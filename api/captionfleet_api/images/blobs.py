"""The blob store: normalized pictures and their thumbnails, named by the picture's sha256."""

import asyncio
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import obstore
from obstore.store import LocalStore


class BlobMissing(Exception):
    """The database names a picture that the blob store does not have."""


class Blobs:
    """Pictures in a folder. A blob never changes: same name, same bytes."""

    def __init__(self, folder: Path) -> None:
        self._store = LocalStore(folder.resolve(), mkdir=True)

    async def get(self, picture_sha256: str) -> bytes:
        """The normalized picture, as models see it. Raises BlobMissing."""
        return await self._get(_picture(picture_sha256))

    async def thumbnail(self, picture_sha256: str) -> bytes:
        """Its thumbnail, a JPEG. Raises BlobMissing."""
        return await self._get(_thumbnail(picture_sha256))

    async def put(self, picture_sha256: str, picture: bytes, thumbnail: bytes) -> None:
        await asyncio.gather(
            obstore.put_async(self._store, _picture(picture_sha256), picture),
            obstore.put_async(self._store, _thumbnail(picture_sha256), thumbnail),
        )

    async def last_put(self, picture_sha256: str) -> datetime | None:
        """When the picture was last put; None if it is not there."""
        try:
            return (await obstore.head_async(self._store, _picture(picture_sha256)))[
                "last_modified"
            ]
        except FileNotFoundError:
            return None

    async def delete(self, picture_sha256: str) -> None:
        for path in (_picture(picture_sha256), _thumbnail(picture_sha256)):
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, path)

    async def _get(self, path: str) -> bytes:
        try:
            found = await obstore.get_async(self._store, path)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise BlobMissing(f"{path} is not in the blob store") from None


def _picture(sha256: str) -> str:
    return f"pictures/{sha256[:2]}/{sha256}"


def _thumbnail(sha256: str) -> str:
    return f"thumbnails/{sha256[:2]}/{sha256}"
