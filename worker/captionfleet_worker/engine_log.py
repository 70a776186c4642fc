"""What an engine prints, in a file that never grows beyond a limit, however much is printed.

The engine has the end of a pipe instead of the file: nothing of its own can fill the disk.
"""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

LARGEST_FILE = 4 * 2**20
"""Bytes; what was written before is kept once, in NAME.old.log."""
_BYTES_PER_SECOND = 4 * 2**20
"""Who prints more waits: reading it must not keep the agent from its other engines."""
_PIPE_BYTES = 2**20
_LAST_SECONDS = 2.0
"""For what is still in the pipe when the engine has ended."""


class EngineLog(asyncio.Protocol):
    """Made by open(); ended by end(), after which write() still works."""

    def __init__(self, file: Path) -> None:
        self._path = file
        self._file: BinaryIO | None = None
        self._transport: asyncio.ReadTransport | None = None
        self._ended = asyncio.Event()
        self._write_end = -1

    @classmethod
    async def open(cls, file: Path) -> "EngineLog":
        """Raises OSError if the file cannot be written."""
        log = cls(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
        read_end, log._write_end = os.pipe()
        with suppress(OSError):  # a limit of this user's; a smaller pipe works too
            fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: log, os.fdopen(read_end, "rb", buffering=0))
        return log

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The end to print to, for the engine alone: ours is closed after it was handed over."""
        try:
            yield self._write_end
        finally:
            os.close(self._write_end)

    async def end(self) -> None:
        """Wait for what was printed last, then read no more. May be called again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._ended.wait()
        if self._transport:
            self._transport.close()

    def write(self, text: str) -> None:
        """Something of our own, such as the engine's last words."""
        if text:
            self._append(text.encode())
        self._close_file()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.ReadTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._append(data)
        assert self._transport
        self._transport.pause_reading()
        asyncio.get_running_loop().call_later(len(data) / _BYTES_PER_SECOND, self._resume)

    def connection_lost(self, _: Exception | None) -> None:
        self._ended.set()
        self._close_file()

    def _resume(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def _append(self, data: bytes) -> None:
        """A disk that is full costs the log, not the model."""
        with suppress(OSError):
            self._file = self._file or self._path.open("ab", buffering=0)
            if self._file.tell() + len(data) > LARGEST_FILE:
                self._path.replace(self._path.with_suffix(".old.log"))
                self._close_file()
                self._file = self._path.open("ab", buffering=0)
            self._file.write(data)

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file:
            file.close()
