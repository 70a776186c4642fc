"""The children that decode pictures: started when needed, killed when they hang, then renewed."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from captionfleet_api.images.child import ANSWER, LENGTH, Limits
from captionfleet_api.images.normalize import BadPicture, Normalized

PICTURES_PER_CHILD = 500
_LARGEST_BUFFER = 2**20


class TooBusy(Exception):
    """More pictures wait for a child than may wait."""


class _Died(Exception):
    """The child ended before it answered."""


@dataclass(eq=False)
class _Child:
    process: asyncio.subprocess.Process
    pictures: int = 0
    """Decoded so far."""


@dataclass
class Children:
    """At most `count` children. One that dies or hangs costs only its picture.

    seconds: longest time for one picture. waiting: most pictures that wait for a child.
    """

    count: int
    limits: Limits
    seconds: float
    waiting: int
    _idle: list[_Child] = field(default_factory=list)
    _all: set[_Child] = field(default_factory=set)
    _in_hand: int = 0
    _turn: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._turn = asyncio.Semaphore(self.count)

    @property
    def pids(self) -> list[int]:
        """The live children."""
        return [child.process.pid for child in self._all]

    async def normalize(self, file: bytes) -> Normalized:
        """Raises BadPicture or TooBusy."""
        if self._in_hand >= self.waiting + self.count:
            raise TooBusy(f"{self._in_hand} pictures wait to be decoded already")
        self._in_hand += 1
        try:
            async with self._turn:
                head, picture, thumbnail = await self._ask_twice(file)
        finally:
            self._in_hand -= 1
        if "code" in head:
            raise BadPicture(**head)
        return Normalized(picture=picture, thumbnail=thumbnail, **head)

    async def close(self) -> None:
        await asyncio.gather(*(self._end(child) for child in list(self._all)))

    async def _ask_twice(self, file: bytes) -> tuple[dict[str, Any], bytes, bytes]:
        """A child may have died while it was idle: a picture is guilty if a fresh one dies too."""
        try:
            return await self._ask_one(file)
        except _Died:
            pass
        try:
            return await self._ask_one(file)
        except _Died:
            raise BadPicture(
                "decode_failed", "the decoder crashed on this file: export it again"
            ) from None

    async def _ask_one(self, file: bytes) -> tuple[dict[str, Any], bytes, bytes]:
        child = self._idle.pop() if self._idle else await self._start()
        try:
            answer = await self._ask(child, file)
        except BaseException:  # cancellation too: a half-read answer must reach nobody
            await self._end(child)
            raise
        child.pictures += 1
        if child.pictures < PICTURES_PER_CHILD:
            self._idle.append(child)
        else:
            await self._end(child)
        return answer

    async def _ask(self, child: _Child, file: bytes) -> tuple[dict[str, Any], bytes, bytes]:
        try:
            async with asyncio.timeout(self.seconds):
                return await _exchange(child.process, file)
        except TimeoutError:
            raise BadPicture(
                "decode_timeout", f"decoding took more than {self.seconds:g} s: make it smaller"
            ) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise _Died from None

    async def _start(self) -> _Child:
        inherited = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "captionfleet_api.images.child", self.limits.as_argument(),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LARGEST_BUFFER,
            env={name: os.environ[name] for name in inherited if name in os.environ},
        )  # fmt: skip
        child = _Child(process)
        self._all.add(child)
        return child

    async def _end(self, child: _Child) -> None:
        self._all.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        with suppress(ProcessLookupError):
            child.process.kill()
        await child.process.wait()


async def _exchange(
    process: asyncio.subprocess.Process, file: bytes
) -> tuple[dict[str, Any], bytes, bytes]:
    assert process.stdin and process.stdout
    process.stdin.write(LENGTH.pack(len(file)))
    process.stdin.write(file)
    await process.stdin.drain()
    sizes = ANSWER.unpack(await process.stdout.readexactly(ANSWER.size))
    head, picture, thumbnail = [await process.stdout.readexactly(size) for size in sizes]
    return json.loads(head), picture, thumbnail
