"""Uploaded files on their way in: bounded while they stream, on disk once they are large."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Self

from captionfleet_api.images.normalize import BadPicture

_IN_MEMORY = 2**20


@dataclass
class Upload:
    """One file as it came. Close it, for example by `with`."""

    file: IO[bytes]
    size: int
    sha256: str

    async def read(self) -> bytes:
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        self.file.seek(0)
        return self.file.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


async def receive(pieces: AsyncIterator[bytes], limit: int) -> Upload:
    """Take a file from a stream. Raises BadPicture as soon as it is more than `limit` bytes."""
    file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the Upload closes it
    digest, size = hashlib.sha256(), 0
    try:
        async for piece in pieces:
            size += len(piece)
            check_size(size, limit)
            digest.update(piece)
            file.write(piece)
    except BaseException:
        file.close()
        raise
    return Upload(file, size, digest.hexdigest())


async def adopt(file: IO[bytes], limit: int) -> Upload:
    """The same for a file that a form has brought already. Raises BadPicture."""
    size = file.seek(0, 2)
    check_size(size, limit)
    file.seek(0)
    digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")  # type: ignore[arg-type]
    return Upload(file, size, digest.hexdigest())


def check_size(size: int, limit: int) -> None:
    if size > limit:
        raise BadPicture(
            "too_large",
            f"the file is larger than {limit / 1e6:g} MB (CAPTIONFLEET_UPLOAD_LIMIT_MB): "
            "make it smaller",
        )
