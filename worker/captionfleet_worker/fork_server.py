"""The agent's side of the fork-server: start it, have engines forked, hear how they ended.

It is started by warm_up() or the first fork(), and again by the next one if it ended.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from captionfleet_worker.engine.protocol import LoadFailed

log = structlog.get_logger()

_MOST_BYTES = 1 << 16
_LONGEST_WARM_UP_SECONDS = 300.0
"""A disk that hangs would have every model wait for ever."""


class NoForkServer(Exception):
    """It ended before it could fork anything: something that it imports does not work here."""


class ForkedEngine:
    """A child of the fork-server. Ended by a signal, or with the fork-server."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.lost = False
        """It ended because the fork-server did."""
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """Its exit code, as subprocess tells it: minus the signal that ended it."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def end(self, code: int) -> None:
        """Called when it has ended."""
        self.returncode = code
        self._ended.set()


class ForkServer:
    """See the module."""

    def __init__(self) -> None:
        self._life: _Life | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def warm(self) -> bool:
        """An engine would be there at once."""
        return self._life is not None and self._life.warm.done() and not self._life.over

    @property
    def pid(self) -> int | None:
        return self._life.process.pid if self._life and not self._life.over else None

    async def warm_up(self, environment: Mapping[str, str]) -> None:
        """Start it unless it runs. `environment` is what libraries read when they are imported."""
        async with self._one_at_a_time:  # after its end all engines are started again at once
            if self._life is None or self._life.over:
                self._life = await _begin(environment)

    async def fork(
        self, environment: Mapping[str, str], room: Path, link: int, output: int
    ) -> ForkedEngine:
        """A new engine. `link` and `output` are files of its own to be. Raises NoForkServer, or
        LoadFailed if the fork-server ended in between or the machine allows no more processes."""
        await self.warm_up(environment)
        assert self._life
        return await self._life.fork(environment, room, link, output)

    async def warmth(self) -> None:
        """Wait until it is warm. Raises NoForkServer."""
        if self._life is None:
            raise NoForkServer("it was not started")
        await asyncio.shield(self._life.warm)

    async def stop(self) -> None:
        """End it, and whatever engines there still are."""
        if self._life:
            await self._life.stop()


class _Life:
    """One process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process, link: socket.socket) -> None:
        self.process = process
        self.warm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over = False
        self._link = link
        self._asked: deque[asyncio.Future[ForkedEngine]] = deque()
        self._engines: dict[int, ForkedEngine] = {}
        loop = asyncio.get_running_loop()
        loop.add_reader(link.fileno(), self._hear)
        self._too_long = loop.call_later(_LONGEST_WARM_UP_SECONDS, self._kill)

    async def fork(
        self, environment: Mapping[str, str], room: Path, link: int, output: int
    ) -> ForkedEngine:
        await asyncio.shield(self.warm)  # others wait for it too
        if self.over:
            raise _lost()
        asked = {"do": "fork", "environment": dict(environment), "room": str(room)}
        forked: asyncio.Future[ForkedEngine] = asyncio.get_running_loop().create_future()
        try:
            socket.send_fds(self._link, [json.dumps(asked).encode()], [link, output])
        except OSError as error:
            raise _lost(str(error)) from None
        self._asked.append(forked)
        return await forked

    async def stop(self) -> None:
        self._kill()
        await self.process.wait()
        self._end()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    def _hear(self) -> None:
        try:
            data = self._link.recv(_MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._take(json.loads(data))

    def _take(self, said: dict[str, Any]) -> None:
        if said["say"] == "warm":
            self._too_long.cancel()
            self.warm.set_result(None)
        elif said["say"] == "forked":
            engine = self._engines[said["pid"]] = ForkedEngine(said["pid"])
            forked = self._asked.popleft()
            if forked.done():  # who asked is gone
                with contextlib.suppress(ProcessLookupError):
                    os.kill(engine.pid, signal.SIGKILL)
            else:
                forked.set_result(engine)
        elif said["say"] == "refused":
            self._refuse(said["why"])
        elif said["pid"] in self._engines:
            self._engines.pop(said["pid"]).end(said["code"])

    def _refuse(self, why: str) -> None:
        forked = self._asked.popleft()
        if not forked.done():
            told = f"the worker cannot start another process ({why}): unload a model here, or raise"
            forked.set_exception(
                LoadFailed("EngineDied", f"{told} its limits of processes and memory", True)
            )

    def _end(self) -> None:
        """The kernel has ended its engines too."""
        if self.over:
            return
        self.over = True
        self._too_long.cancel()
        asyncio.get_running_loop().remove_reader(self._link.fileno())
        self._link.close()
        if not self.warm.done():
            self.warm.set_exception(NoForkServer("it ended while it was starting"))
            self.warm.exception()  # nobody need be waiting
        for forked in self._asked:
            if not forked.done():
                forked.set_exception(_lost())
        for engine in self._engines.values():
            engine.lost = True
            engine.end(-signal.SIGKILL)
        log.info("fork-server ended", engines=len(self._engines))


async def _begin(environment: Mapping[str, str]) -> _Life:
    # Packets: an engine's files can never be told apart from the words that belong to them.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "captionfleet_worker.engine.forkserver",
            str(theirs.fileno()), str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
            start_new_session=True, env=environment,
        )  # fmt: skip
    log.info("fork-server started", pid=process.pid)
    return _Life(process, ours)


def _lost(why: str = "it ended") -> LoadFailed:
    return LoadFailed(
        "EngineDied", f"the process that starts engines is gone ({why}); another is started", True
    )
